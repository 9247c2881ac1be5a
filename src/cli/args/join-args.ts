/** The options by which an agent joins a cluster, for the commands that start an agent or say what it would do. */
import type { CniOptions } from '../../agent/cni/containers.ts';
import { CNI_BIN_DIR, CNI_CONFIG_DIR, type CniDirectories } from '../../agent/cni/installation.ts';
import type { ApiServer } from '../../api/client/api-server.ts';
import { CNI_SOCKET } from '../../cni/protocol.ts';
import { failed, usageError } from '../errors.ts';
import type { Args, Options } from './args.ts';

/** The cluster. */
export const JOIN_OPTIONS = {
  kubeconfig: { value: 'FILE', help: 'the kubeconfig of the cluster to join' },
  'in-cluster': { help: 'join the cluster in which this process runs as a pod, with its service account' },
  'node-ip': { value: 'ADDRESS', help: "the node's address (default: the one it reaches the API server by)" },
} satisfies Options;

/** What is done with the rules of kube-proxy. */
export const TAKEOVER_OPTION = {
  takeover: { help: "take the node's Services over from kube-proxy once it has been stopped, with their connections" },
} satisfies Options;

/** The places of the CNI plugin. */
export const CNI_OPTIONS = {
  'cni-conf-dir': { value: 'DIR', help: `where runtimes read CNI configurations (default ${CNI_CONFIG_DIR})` },
  'cni-bin-dir': { value: 'DIR', help: `where runtimes look for CNI plugins (default ${CNI_BIN_DIR})` },
  'cni-socket': { value: 'PATH', help: `the agent's socket for the plugin (default ${CNI_SOCKET})` },
} satisfies Options;

/** How the CNI plugin is installed. */
export const CNI_SERVICE_OPTIONS = {
  'cni-ipam': {
    value: 'PLUGIN',
    help: "the CNI plugin that assigns the pods' addresses, such as host-local (default: the agent)",
  },
  'cni-copy': { help: 'copy Node and the plugin to the directory for plugins: the agent runs in a container' },
} satisfies Options;

/** The options of the agent for container runtimes. @throws CliError */
export function cniServiceOptions(args: Args): CniOptions {
  const ipam = args.text('cni-ipam');
  if (ipam !== undefined && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(ipam)) {
    throw usageError(`--cni-ipam ${ipam}: expected the name of a CNI plugin, such as host-local`);
  }
  return { ...cniOptions(args), ipam, copiesProgram: args.flag('cni-copy') };
}

/** The places of the CNI plugin. */
export function cniOptions(args: Args): { directories: CniDirectories; socket: string } {
  return {
    directories: {
      configuration: args.text('cni-conf-dir') ?? CNI_CONFIG_DIR,
      programs: args.text('cni-bin-dir') ?? CNI_BIN_DIR,
    },
    socket: args.text('cni-socket') ?? CNI_SOCKET,
  };
}

/** The API server of the cluster to join; undefined if none is named. @throws CliError for options that exclude each other */
export async function serverToJoin(command: string, args: Args): Promise<ApiServer | undefined> {
  const kubeconfig = args.text('kubeconfig');
  const inCluster = args.flag('in-cluster');
  if ([kubeconfig !== undefined, inCluster, args.has('api')].filter(Boolean).length > 1) {
    throw usageError(`dataplane ${command}: --api, --kubeconfig and --in-cluster exclude each other`);
  }
  if (kubeconfig === undefined && !inCluster) return undefined;
  const { serverOfPod } = await import('../../api/client/api-server.ts');
  const { serverOfKubeconfig } = await import('../../api/client/kubeconfig.ts');
  try {
    return kubeconfig === undefined ? serverOfPod() : serverOfKubeconfig(kubeconfig);
  } catch (error) {
    throw failed(`dataplane ${command}: ${(error as Error).message}`);
  }
}
