/** `dataplane kubeconfig`: how kubectl and every Kubernetes client find this cluster. */
import { existsSync, readFileSync } from 'node:fs';
import { KUBECONFIG, readClusterFile } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { BRING_UP, failed, NOT_UP, needRoot } from '../errors.ts';
import { print } from '../output/output.ts';

export const command: Command = {
  usage: ['kubeconfig [--path]'],
  about: `Print the kubeconfig of the cluster that is up: the API's address, its authority's certificate, and a client
certificate with all rights. With --path print the name of the file that \`dataplane up\` wrote (readable by root alone).`,
  options: {
    path: { help: "the file's name instead of its content" },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['export KUBECONFIG=$(dataplane kubeconfig --path)', 'dataplane kubeconfig > ~/.kube/dataplane'],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('kubeconfig', args, 0);
  needRoot('kubeconfig');
  if (readClusterFile() === undefined || !existsSync(KUBECONFIG)) throw failed(NOT_UP, BRING_UP);
  print(args.flag('path') ? KUBECONFIG : readFileSync(KUBECONFIG, 'utf8'));
}
