/**
 * Joining a cluster whose API server is not ours. The node's object is created unless kubelet has created it; it gets
 * the node's address if it has none, and the annotations by which other nodes reach it. The pod network is assigned by
 * the cluster (kube-controller-manager --allocate-node-cidrs), or by whoever created the object.
 */
import { connect } from 'node:net';
import type { ApiServer } from '../api/client/api-server.ts';
import type { ApiClient } from '../api/client/client.ts';
import { type ClusterOptions, DEFAULT_CLUSTER_OPTIONS } from '../api/cluster-options.ts';
import { ApiError } from '../api/errors.ts';
import { flannelAnnotations } from '../api/flannel-backend.ts';
import { internalIpOf, nodeAddresses, nodeLabels } from '../api/node-identity.ts';
import type { NodeObject } from '../api/types/objects.ts';
import { contains, parseCidr, parseIp, printCidr } from '../net/address.ts';
import { addressOf, type Underlay } from './config.ts';

const CONNECT_MS = 5000;

/**
 * The options of a cluster that has no ConfigMap of ours, as far as they can be known: names are served by the cluster's
 * own server, and the underlay is the network of the node's address.
 */
export function joinedDefaults(nodeIP: string, underlay: Underlay): ClusterOptions {
  const network = parseCidr(`${nodeIP}/${underlay.prefix}`);
  return { ...DEFAULT_CLUSTER_OPTIONS, dns: 'external', ...(network && { underlayCidr: printCidr(network) }) };
}

/**
 * The address of this machine that it reaches the API server by, which is the node's address unless the user gives
 * another one.
 * @throws Error if the server cannot be reached, or is not reached by IP
 */
export function addressToward({ name, where }: ApiServer): Promise<string> {
  if ('socketPath' in where) return Promise.reject(new Error(`${name} is a local socket: --node-ip is needed`));
  return new Promise((resolve, reject) => {
    const socket = connect({ ...where, timeout: CONNECT_MS });
    const fail = (why: string): void => {
      socket.destroy();
      reject(new Error(`no connection to ${name} (${why}): check the server's address, or give --node-ip`));
    };
    socket.once('timeout', () => fail('no answer'));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    socket.once('connect', () => {
      resolve((socket.localAddress as string).replace(/^::ffff:/, ''));
      socket.destroy();
    });
  });
}

/** Create the Node object if there is none, and give it the address if it has none. @throws ApiError */
export async function registerNode(client: ApiClient, name: string, nodeIP: string): Promise<NodeObject> {
  const node = (await client.find('Node', name)) ?? (await createNode(client, name));
  if (internalIpOf(node) !== undefined) return node;
  const addresses = nodeAddresses(name, nodeIP);
  return client.patch('Node', name, { status: { addresses } }, { subresource: 'status', type: 'strategic' });
}

async function createNode(client: ApiClient, name: string): Promise<NodeObject> {
  const metadata = { name, labels: nodeLabels(name) };
  try {
    return await client.create<NodeObject>({ apiVersion: 'v1', kind: 'Node', metadata });
  } catch (error) {
    if (error instanceof ApiError && error.code === 409) return client.get('Node', name);
    throw error;
  }
}

/** Publish how other nodes reach this one, if the Node does not say so yet. @throws ApiError */
export async function announceNode(client: ApiClient, node: NodeObject, cluster: ClusterOptions): Promise<void> {
  const { name, annotations: present = {} } = node.metadata;
  const annotations = flannelAnnotations({ ip: addressOf(node), podCIDR: node.spec?.podCIDR as string }, cluster);
  if (Object.entries(annotations).every(([key, value]) => present[key] === value)) return;
  await client.patch('Node', name, { metadata: { annotations } }, { type: 'merge' });
}

/**
 * Do the networks of the options fit the cluster's objects? A wrong one would have services forwarded to the outside, or
 * pods of other nodes masqueraded.
 * @throws Error that names the option
 */
export async function checkNetworks(client: ApiClient, node: NodeObject, cluster: ClusterOptions): Promise<void> {
  const wrong = (what: string, option: string, range: string): Error =>
    new Error(
      `${what} is outside ${option} ${range}: set ${option} in ConfigMap kube-system/dataplane-config (docs/real-clusters.md)`,
    );
  const pods = parseCidr(cluster.podCidr);
  const own = parseCidr(node.spec?.podCIDR ?? '');
  if (pods && own && !(contains(pods, ipv4(own.first)) && contains(pods, ipv4(own.last)))) {
    throw wrong(`the pod network ${node.spec?.podCIDR} of Node ${node.metadata.name}`, 'podCidr', cluster.podCidr);
  }
  const clusterIP = (await client.find('Service', 'kubernetes', 'default'))?.spec.clusterIP;
  const services = parseCidr(cluster.serviceCidr);
  const address = parseIp(clusterIP ?? '');
  if (services && address && !contains(services, address)) {
    throw wrong(`the address ${clusterIP} of Service default/kubernetes`, 'serviceCidr', cluster.serviceCidr);
  }
}

const ipv4 = (value: bigint) => ({ family: 4 as const, value });
