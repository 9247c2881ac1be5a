/**
 * Changes options of a running cluster. Agents watch the ConfigMap kube-system/dataplane-config; a restarted controller
 * publishes the options of cluster.json. Both are written.
 */
import type { ApiClient } from '../api/client/client.ts';
import { type ClusterOptions, clusterOptionsOf } from '../api/cluster-options.ts';
import { CONFIG_MAP } from '../api/types/objects.ts';
import { readClusterFile, writeClusterFile } from './state.ts';

/** Options that agents apply at once (src/agent/config.ts). All others are fixed when a node starts. */
export type LiveOptions = Pick<
  ClusterOptions,
  | 'conntrackTimeouts'
  | 'conntrackTcpLiberal'
  | 'conntrackTcpLoose'
  | 'portPolicy'
  | 'localPolicyAction'
  | 'forwardLinkLocal'
>;

/** The current options. @throws ApiError */
export async function readOptions(client: ApiClient): Promise<ClusterOptions> {
  return clusterOptionsOf(await client.get('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace));
}

/**
 * Changes options of a running cluster.
 * @param change computes the new values from the current ones; called again after a conflict with another writer
 * @returns all options after the change
 * @throws ApiError, or what `change` throws; in both cases nothing is changed
 */
export async function changeOptions(
  client: ApiClient,
  change: (present: ClusterOptions) => Partial<LiveOptions>,
): Promise<ClusterOptions> {
  for (let attempt = 0; ; attempt++) {
    const map = await client.get('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace);
    const present = clusterOptionsOf(map);
    const options = { ...present, ...change(present) };
    try {
      await client.update({ ...map, data: { ...map.data, [CONFIG_MAP.key]: JSON.stringify(options) } });
    } catch (error) {
      if ((error as { reason?: string }).reason === 'Conflict' && attempt < 3) continue;
      throw error;
    }
    const cluster = readClusterFile();
    if (cluster !== undefined) writeClusterFile({ ...cluster, options });
    return options;
  }
}
