/** The cluster of most overlay tests: a pod on each node, with the servers of overlay.ts in both. */
import { type Cluster, podNetns, startCluster } from '../cluster.ts';
import { idlePod, Services } from '../services/services.ts';
import { Paths } from './overlay.ts';

export const CLIENT = podNetns('client');
export const SERVER = podNetns('server');
export const [CLIENT_IP, SERVER_IP] = ['10.244.1.2', '10.244.2.2'];

/** @param args arguments for `dataplane up` */
export async function startOverlayCluster(
  args: readonly string[],
): Promise<{ cluster: Cluster; paths: Paths; s: Services }> {
  const cluster = await startCluster({ args, manifests: [idlePod('client', 'n1'), idlePod('server', 'n2')] });
  const paths = new Paths(cluster);
  await Promise.all([paths.startServers(SERVER), paths.startServers(CLIENT)]);
  return { cluster, paths, s: new Services(cluster) };
}
