/** `dataplane agent`: one node's data plane and pods, inside its network namespace. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { agentLifeSigns } from '../../api/agent-socket.ts';
import { API_SOCKET, readClusterFile, STATE_DIR } from '../../cluster/state.ts';
import type { OffloadLevel } from '../../linux/tap.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import {
  CNI_OPTIONS,
  CNI_SERVICE_OPTIONS,
  cniServiceOptions,
  JOIN_OPTIONS,
  serverToJoin,
  TAKEOVER_OPTION,
} from '../args/join-args.ts';
import { ipv4Address, nodeName } from '../args/values.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { outliveLog } from '../output/output.ts';

export const command: Command = {
  usage: [
    'agent --node NAME [--api TARGET] [--state DIR]',
    'agent --node NAME (--kubeconfig FILE | --in-cluster) [--node-ip ADDRESS] [--cni] [--takeover] [--state DIR]',
  ],
  about: `Run a node in the foreground: forward its packets and run its pods, in the network namespace in which it is started.
\`dataplane up\` starts an agent in each node's namespace. On a separate machine, start it in the machine's own namespace.

With --kubeconfig or --in-cluster it is a node of a Kubernetes cluster: with --cni it takes the place of kube-proxy and the
network plugin beside kubelet, without it also that of kubelet. docs/real-clusters.md explains both.`,
  options: {
    node: { value: 'NAME', help: 'the name of its Node object' },
    api: { value: 'TARGET', help: `a unix socket or http://HOST:PORT (default ${API_SOCKET})` },
    ...JOIN_OPTIONS,
    cni: { help: 'a container runtime runs the pods, and connects them through the CNI plugin' },
    ...CNI_OPTIONS,
    ...CNI_SERVICE_OPTIONS,
    ...TAKEOVER_OPTION,
    standby: { help: 'keep a second process that forwards while there is no agent; `dataplane up` does' },
    'standby-outside': {
      help: 'with --standby in a container that shares the processes of its machine: it stays when the container ends',
    },
    state: { value: 'DIR', help: `directory of the node's state (default ${STATE_DIR})` },
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('agent', args, 0);
  const node = args.value('node', nodeName);
  if (node === undefined) throw usageError('dataplane agent: --node NAME is missing');
  const joins = args.has('kubeconfig') || args.flag('in-cluster');
  const alone = ['node-ip', 'cni', 'takeover', ...Object.keys({ ...CNI_OPTIONS, ...CNI_SERVICE_OPTIONS })].find(
    (name) => args.has(name),
  );
  if (!joins && alone !== undefined) {
    throw usageError(`dataplane agent: --${alone} needs --kubeconfig or --in-cluster`);
  }
  if (args.flag('standby-outside') && !args.flag('standby')) {
    throw usageError('dataplane agent: --standby-outside needs --standby');
  }
  const nodeIP = args.value('node-ip', ipv4Address);
  needRoot('agent');
  const server = await serverToJoin('agent', args);
  outliveLog();
  const stateDir = args.text('state') ?? STATE_DIR;
  // On a machine that also has a cluster of `dataplane up`, its options are not those of the cluster that is joined.
  const cluster = joins ? undefined : readClusterFile(stateDir);
  const { OFFLOAD_NAMES } = await import('../../linux/tap.ts');
  const { startAgent } = await import('../../agent/agent.ts');
  const { takeLock } = await import('../../linux/lock-file.ts');
  const directory = join(stateDir, 'nodes', node);
  mkdirSync(directory, { recursive: true });
  // Held until this process ends. Two agents of one node would remove each other's devices, rules and pods.
  const lock = takeLock(join(directory, 'agent.lock'));
  if (typeof lock === 'string') {
    throw failed(`node ${node}: an agent is already running (pid ${lock}); nothing was changed`);
  }
  const { giveLifeSigns } = await import('../../linux/life-signs.ts');
  giveLifeSigns(agentLifeSigns(stateDir, node));
  const registeredByKubelet = args.flag('cni');
  const agent = await startAgent({
    node,
    api: server ?? args.text('api') ?? API_SOCKET,
    ...(server && { joining: { server, nodeIP, registeredByKubelet } }),
    ...(registeredByKubelet && { cni: cniServiceOptions(args) }),
    takeover: args.flag('takeover'),
    stateDir,
    catalogue: cluster?.catalogue ?? [],
    ...(cluster?.offloads && { offloads: OFFLOAD_NAMES.indexOf(cluster.offloads) as OffloadLevel }),
    standby: args.flag('standby') && (args.flag('standby-outside') ? 'outlives container' : true),
    noUnderlayShortcut: cluster?.noUnderlayShortcut ?? false,
  }).catch((error: Error) => {
    throw Object.assign(failed(`node ${node}: ${error.message}`), { cause: error });
  });
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  await agent.close();
  process.exit(0);
}
