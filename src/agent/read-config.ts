/** The first configuration of a node: waits until the Node object exists at the API and has a pod network. */
import type { ApiServer } from '../api/client/api-server.ts';
import type { ApiClient } from '../api/client/client.ts';
import { clusterOptionsOf } from '../api/cluster-options.ts';
import { internalIpOf } from '../api/node-identity.ts';
import { CONFIG_MAP, type NodeObject } from '../api/types/objects.ts';
import { addressOf, deriveConfig, LiveConfig, type NodeConfig } from './config.ts';
import { addressToward, announceNode, checkNetworks, joinedDefaults, registerNode } from './registration.ts';
import { underlayDevice } from './underlay/underlay-device.ts';

/** Between attempts: at first as an API needs that starts at the same time, then doubled up to the last. */
const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 160;
/** Log one line after this many attempts, and then one per LOG_EVERY. */
const LOG_FIRST = 10;
const LOG_EVERY = 50;

/** Joining a cluster whose API server is not ours. */
export interface Joining {
  readonly server: ApiServer;
  /** The node's address; default: the one that the API server is reached by. */
  readonly nodeIP?: string | undefined;
  /** kubelet runs on this node, and registers it. */
  readonly registeredByKubelet: boolean;
}

type Log = (line: string) => void;

/** @throws Error for a Node without address or pod network, or if no device has its address */
export async function readConfig(
  client: ApiClient,
  nodeName: string,
  log: Log,
  joining?: Joining,
): Promise<LiveConfig> {
  if (joining) return join(client, nodeName, log, joining);
  const node = await waitFor(() => client.find('Node', nodeName), log, `Node ${nodeName}`);
  const cluster = clusterOptionsOf(await client.find('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace));
  return new LiveConfig({ node, cluster, underlay: underlayDevice(addressOf(node)) }, log);
}

async function join(client: ApiClient, nodeName: string, log: Log, joining: Joining): Promise<LiveConfig> {
  const { server, nodeIP, registeredByKubelet } = joining;
  const ip = nodeIP ?? (await waitFor(() => addressToward(server), log, `an answer of ${server.name}`));
  const underlay = underlayDevice(ip);
  const register = () => (registeredByKubelet ? client.find('Node', nodeName) : registerNode(client, nodeName, ip));
  const registered = await waitFor(register, log, `Node ${nodeName}`);
  const inUse = addressOf(registered);
  if (inUse !== ip) {
    throw new Error(`Node ${nodeName} has the address ${inUse}, this machine ${ip}: give --node-ip ${inUse}`);
  }
  const hasNetwork = (node: NodeObject | undefined) => (node?.spec?.podCIDR ? node : undefined);
  const node = await waitFor(
    async () => hasNetwork(await client.find('Node', nodeName)),
    log,
    `the pod network of Node ${nodeName} (spec.podCIDR, kube-controller-manager --allocate-node-cidrs)`,
  );
  const defaults = joinedDefaults(ip, underlay);
  const cluster = clusterOptionsOf(await client.find('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace), defaults);
  await checkNetworks(client, node, cluster);
  await announceNode(client, node, cluster);
  return new LiveConfig({ node, cluster, underlay }, log, defaults);
}

/**
 * The configuration that an agent would have, from what the API has now: nothing is written there, and nothing waited for.
 * @throws Error as readConfig, and for a Node that the API does not have, or that has no pod network yet; ApiError
 */
export async function previewConfig(
  client: ApiClient,
  nodeName: string,
  joining?: Pick<Joining, 'server' | 'nodeIP'>,
): Promise<NodeConfig> {
  const node = await client.find('Node', nodeName);
  if (node === undefined)
    throw new Error(`Node ${nodeName} is not at the API: kubelet, or the agent's first start, registers it`);
  const ip = joining?.nodeIP ?? internalIpOf(node) ?? (joining && (await addressToward(joining.server)));
  const options = await client.find('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace);
  const underlay = underlayDevice(ip ?? addressOf(node));
  const defaults = joining && joinedDefaults(ip as string, underlay);
  const cluster = clusterOptionsOf(options, defaults);
  if (joining) await checkNetworks(client, node, cluster);
  return deriveConfig({ node, cluster, underlay });
}

/** The answer, once there is one. The API may be started after the agents, and its credentials corrected. */
async function waitFor<T>(ask: () => Promise<T | undefined>, log: Log, what: string): Promise<T> {
  let retryMs = FIRST_RETRY_MS;
  for (let attempt = 1; ; attempt++) {
    let why = '';
    try {
      const found = await ask();
      if (found !== undefined) return found;
    } catch (error) {
      why = `: ${(error as Error).message}`;
    }
    if (attempt === LOG_FIRST || attempt % LOG_EVERY === 0) log(`waiting for ${what} at the API${why}`);
    await new Promise((resolve) => setTimeout(resolve, retryMs));
    if (attempt % 4 === 0) retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
  }
}
