/** `dataplane join`: this machine becomes a node of a cluster of ours on another machine. */
import { hostname } from 'node:os';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { nodeName } from '../args/values.ts';
import { needRoot, usageError } from '../errors.ts';
import { note, print } from '../output/output.ts';

/** Where the systemd unit looks for it. */
const KUBECONFIG = '/etc/dataplane/kubeconfig';
const DEFAULT_PORT = 6443;

export const command: Command = {
  usage: ['join HOST[:PORT] --token TOKEN --discovery-token-ca-cert-hash HASH [--node NAME] [--kubeconfig FILE]'],
  about: `Make this machine a node of the cluster whose controller is at HOST: get a certificate with a bootstrap token, and write
the kubeconfig, for root only. \`dataplane token create\`, on the controller's machine, prints the command with its values. The
agent is started afterwards. docs/real-clusters.md explains it.`,
  options: {
    token: { value: 'TOKEN', help: 'the bootstrap token' },
    'discovery-token-ca-cert-hash': {
      value: 'HASH',
      help: "sha256:… of the public key of the cluster's authority, by which the controller is recognised",
    },
    node: { value: 'NAME', help: "the name of the Node (default: the machine's)" },
    kubeconfig: { value: 'FILE', help: `the file to write (default ${KUBECONFIG})` },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane join 192.0.2.10:6443 --token 3kq7mz.… --discovery-token-ca-cert-hash sha256:…'],
  run,
};

async function run(args: Args): Promise<void> {
  const url = urlOf(needOperand('join', args, 0, 'HOST:PORT of the controller'));
  operandsAtMost('join', args, 1);
  const { parseToken } = await import('../../api/access/bootstrap-tokens.ts');
  const token = args.text('token');
  if (token === undefined) throw usageError('dataplane join: --token TOKEN is missing', '`dataplane token create`');
  if (parseToken(token) === undefined) {
    throw usageError('--token: expected a token of `dataplane token create`, such as 3kq7mz.0123456789abcdef');
  }
  const authorityHash = args.text('discovery-token-ca-cert-hash')?.toLowerCase();
  if (authorityHash === undefined) {
    throw usageError(
      'dataplane join: --discovery-token-ca-cert-hash HASH is missing',
      '`dataplane token create` prints it',
    );
  }
  if (!/^sha256:[0-9a-f]{64}$/.test(authorityHash)) {
    throw usageError(`--discovery-token-ca-cert-hash ${authorityHash}: expected sha256: and 64 hexadecimal digits`);
  }
  const node = args.value('node', nodeName) ?? nodeName(hostname().toLowerCase(), '--node');
  needRoot('join');
  const kubeconfig = args.text('kubeconfig') ?? KUBECONFIG;
  const { joinCluster } = await import('../../cluster/join/join.ts');
  await joinCluster({ url, token, authorityHash, node, kubeconfig });
  print(`node ${node} may join ${url}: ${kubeconfig} written`);
  note(`Start its agent: dataplane agent --node ${node} --kubeconfig ${kubeconfig}`);
}

function urlOf(text: string): string {
  const [, host, port = `${DEFAULT_PORT}`] =
    /^(?:https:\/\/)?([^/:\s]+|\[[0-9a-f:]+\])(?::(\d{1,5}))?\/?$/i.exec(text) ?? [];
  if (host === undefined || Number(port) > 65535 || Number(port) === 0) {
    throw usageError(`dataplane join ${text}: expected HOST:PORT, such as 192.0.2.10:6443`);
  }
  return `https://${host}:${port}`;
}
