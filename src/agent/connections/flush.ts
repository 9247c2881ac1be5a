/** Ends connections when services change: flows to a removed endpoint, or flows that bypass a new service. */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import type { RemovedEndpoint } from './ended.ts';
import { frontendKey, type IsNodePortAddress, placeOf, removeFlows } from './tracked-flows.ts';

/** Stands for an endpoint: connections that were never translated. */
const NEVER_TRANSLATED = -1;

/**
 * Remove the flows of the given endpoints, matched by the service address they were opened to: UDP flows, and TCP flows
 * that were not answered, whose next SYN is then balanced anew: it must not go on to an address that may be another
 * pod's by then.
 * @returns flows removed
 */
export function flushEndpoints(
  table: Conntrack,
  removed: readonly RemovedEndpoint[],
  isNodePortAddress: IsNodePortAddress,
): number {
  const gone = new Map<number, Set<number>>();
  const ports = new Set<number>();
  for (const { servicePort, address, port } of removed) {
    const { protocol, frontends } = servicePort;
    const endpoint = port === 0 ? NEVER_TRANSLATED : placeOf(address[3] as number, port);
    if (protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_TCP) continue;
    for (const frontend of frontends) {
      const key = frontendKey(protocol, frontend);
      const endpoints = gone.get(key);
      if (endpoints) endpoints.add(endpoint);
      else gone.set(key, new Set([endpoint]));
      ports.add(frontend.port);
    }
  }
  if (gone.size === 0) return 0;
  return removeFlows(table, isNodePortAddress, (flow) => {
    // This rejects nearly all connections without a look-up.
    if (!ports.has(flow.askedPort)) return false;
    if (flow.protocol === PROTOCOL_TCP && flow.answered) return false;
    const endpoints = flow.at(gone);
    return endpoints?.has(flow.isUntranslated ? NEVER_TRANSLATED : flow.endpoint) === true;
  });
}
