/** `dataplane kubeconfig`: the file by which kubectl and other clients find and access this cluster. */
import { existsSync, readFileSync } from 'node:fs';
import { KUBECONFIG, readClusterFile } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { BRING_UP, failed, NOT_UP, needRoot } from '../errors.ts';
import { print } from '../output/output.ts';

export const command: Command = {
  usage: ['kubeconfig [--path]'],
  about: `Print the kubeconfig of the cluster: the API's address, the CA certificate, and a client certificate with all
permissions. With --path, print the path of the file that \`dataplane up\` wrote (readable by root only).`,
  options: {
    path: { help: 'print the path of the file instead of its contents' },
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
