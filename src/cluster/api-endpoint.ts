/** The address of the API for pods: that of the outside on the underlay, as if the API were a machine there. */
import { existsSync } from 'node:fs';
import type { ClusterOptions } from '../api/cluster-options.ts';
import type { AccessOptions } from '../controllers/access/secure-access.ts';
import { parseCidr, printIp } from '../net/address.ts';
import { OUTSIDE } from './network-namespaces.ts';

/** The default port of kube-apiserver. */
const PORT = 6443;

/** Undefined if this machine has no outside namespace: the nodes are separate machines. */
export async function clusterEndpoint({ underlayCidr }: ClusterOptions): Promise<AccessOptions['inCluster']> {
  const { namespacePath } = await import('../linux/netns.ts');
  const path = namespacePath(OUTSIDE);
  if (!existsSync(path)) return undefined;
  const { first, family } = parseCidr(underlayCidr)!;
  const address = printIp({ family, value: first + 1n });
  const { listenInNamespace } = await import('../linux/listen.ts');
  return { address, port: PORT, open: () => listenInNamespace(path, address, PORT) };
}
