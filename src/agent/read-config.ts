/** The first configuration of a node: waits until the Node object exists at the API. */
import type { ApiClient } from '../api/client/client.ts';
import { clusterOptionsOf } from '../api/cluster-options.ts';
import { CONFIG_MAP } from '../api/types/objects.ts';
import { addressOf, LiveConfig } from './config.ts';
import { underlayDevice } from './underlay/underlay-device.ts';

const RETRY_MS = 100;
/** Log one line per this many attempts. */
const LOG_EVERY = 50;

/** @throws Error for a Node without address or pod network, or if no device has its address */
export async function readConfig(
  client: ApiClient,
  nodeName: string,
  log: (line: string) => void,
): Promise<LiveConfig> {
  const node = await waitFor(() => client.find('Node', nodeName), log, `Node ${nodeName}`);
  const cluster = clusterOptionsOf(await client.find('ConfigMap', CONFIG_MAP.name, CONFIG_MAP.namespace));
  return new LiveConfig({ node, cluster, underlay: underlayDevice(addressOf(node)) }, log);
}

async function waitFor<T>(ask: () => Promise<T | undefined>, log: (line: string) => void, what: string): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const found = await ask().catch(() => undefined);
    if (found !== undefined) return found;
    if (attempt % LOG_EVERY === 0) log(`waiting for ${what} at the API`);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
