/**
 * Connections that an agent finds when it starts were balanced by a previous one, and changes may have happened in
 * between. Once, at start, this removes UDP flows that lead to endpoints that no longer serve, to addresses that no
 * longer belong to a service, or that bypass a service that should have translated them (kubernetes #122740, #139628,
 * #141371). TCP connections end by themselves.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { ServicePortState } from './ended.ts';
import { frontendKey, type IsNodePortAddress, placeOf, removeFlows } from './tracked-flows.ts';

/**
 * Remove stale UDP flows.
 * @param states every service port in the table
 * @returns flows removed
 */
export function sweepStaleFlows(
  table: Conntrack,
  states: Iterable<ServicePortState>,
  isNodePortAddress: IsNodePortAddress,
): number {
  const serving = servingByFrontend(states);
  return removeFlows(table, isNodePortAddress, (flow) => {
    if (flow.protocol !== PROTOCOL_UDP) return false;
    const endpoints = flow.at(serving);
    return endpoints ? !endpoints.has(flow.endpoint) : flow.isBalanced;
  });
}

/** Serving endpoints, by frontend. */
function servingByFrontend(states: Iterable<ServicePortState>): Map<number, Set<number>> {
  const serving = new Map<number, Set<number>>();
  for (const { protocol, frontends, serving: keys } of states) {
    if (protocol !== PROTOCOL_UDP) continue;
    const endpoints = new Set<number>();
    for (const key of keys) {
      const colon = key.lastIndexOf(':');
      endpoints.add(placeOf(addressWords(key.slice(0, colon))[3] as number, Number(key.slice(colon + 1))));
    }
    for (const frontend of frontends) {
      // A NodePort and a pod's hostPort may have one number: whichever it was when the connection began.
      const key = frontendKey(protocol, frontend);
      serving.set(key, new Set([...endpoints, ...(serving.get(key) ?? [])]));
    }
  }
  return serving;
}
