/**
 * The connections an agent finds when it starts were balanced by the one before it, and what changed in between nobody
 * reported: UDP flows to endpoints that serve no more, to addresses that are no service's any more, or that were never
 * translated although they should be, are taken away once (kubernetes #122740, #139628, #141371). TCP is left to end by
 * itself.
 */

import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { ServicePortState } from './ended.ts';
import { frontendKey, placeOf, takeAwayFlows } from './tracked-flows.ts';

/**
 * Take stale UDP flows away.
 * @param states every service port in force
 * @param nodeIP the address NodePorts are open on
 * @returns flows taken away
 */
export function sweepStaleFlows(table: Conntrack, states: Iterable<ServicePortState>, nodeIP: string): number {
  const serving = servingByFrontend(states);
  return takeAwayFlows(table, addressWords(nodeIP)[3] as number, (flow) => {
    if (flow.protocol !== PROTOCOL_UDP) return false;
    const endpoints = flow.at(serving);
    return endpoints ? !endpoints.has(flow.endpoint) : flow.isBalanced;
  });
}

/** Endpoints that serve, by the frontend asked for. */
function servingByFrontend(states: Iterable<ServicePortState>): Map<number, Set<number>> {
  const serving = new Map<number, Set<number>>();
  for (const { protocol, frontends, serving: keys } of states) {
    if (protocol !== PROTOCOL_UDP) continue;
    const endpoints = new Set<number>();
    for (const key of keys) {
      const colon = key.lastIndexOf(':');
      endpoints.add(placeOf(addressWords(key.slice(0, colon))[3] as number, Number(key.slice(colon + 1))));
    }
    for (const frontend of frontends) serving.set(frontendKey(protocol, frontend), endpoints);
  }
  return serving;
}
