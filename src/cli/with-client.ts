/** Gives commands a client of the API, and closes it afterwards. */
import { ApiClient } from '../api/client/client.ts';
import { apiTarget } from '../cluster/state.ts';
import type { Args, Options } from './args/args.ts';
import { dnsLabel } from './args/values.ts';

export const NAMESPACE_OPTION = {
  namespace: { short: 'n', value: 'NAME', help: 'namespace (default: default)' },
} satisfies Options;

export const namespaceOf = (args: Args): string => args.value('namespace', dnsLabel) ?? 'default';

/** Runs `work` with a client of the cluster's API. @throws ApiUnreachableError if no cluster is up */
export async function withClient<T>(work: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = new ApiClient(apiTarget(), { program: 'dataplane' });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
