/**
 * Options that may change while the cluster runs: agents follow the ConfigMap kube-system/dataplane-config, and the
 * controller publishes what cluster.json has when it starts again, so both are written.
 */
import type { ApiClient } from '../api/client/client.ts';
import { type ClusterOptions, clusterOptionsOf } from '../api/cluster-options.ts';
import { CONFIG_MAP } from '../api/types/objects.ts';
import { readClusterFile, writeClusterFile } from './state.ts';

/** What agents put in force at once (src/agent/config.ts). Everything else is fixed when a node is made. */
export type LiveOptions = Pick<
  ClusterOptions,
  'conntrackTimeouts' | 'conntrackTcpLiberal' | 'conntrackTcpLoose' | 'portPolicy' | 'localPolicyAction'
>;

/** The options in force. @throws ApiError */
export async function readOptions(client: ApiClient): Promise<ClusterOptions> {
  return clusterOptionsOf(await client.get('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace));
}

/**
 * Changes options of a running cluster.
 * @param change computes the new values from those in force; called again when somebody else was faster
 * @returns all options, as they are now in force
 * @throws ApiError, or what `change` throws; nothing is changed then
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
