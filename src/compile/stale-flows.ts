/**
 * The connections an agent finds when it starts were balanced by the one before it, and what changed in between nobody
 * reported: UDP flows to endpoints that serve no more, to addresses that are no service's any more, or that were never
 * translated although they should be, are taken away once (kubernetes #122740, #139628, #141371). TCP is left to end by
 * itself.
 */
import { addressWords } from '../../native-free-dataplane/frame/address.ts';
import {
  type Conntrack,
  Rec,
  recordAt,
  StateWord,
  Status,
  tupleAt,
} from '../../native-free-dataplane/tables/conntrack.ts';
import { removeRecord } from '../../native-free-dataplane/tables/conntrack-index.ts';
import { FrontendKind } from '../../native-free-dataplane/tables/services.ts';
import type { ServicePortState } from './service-sync.ts';

const UDP = 17;

/** Address and port as one number: exact below 2^48. IPv4 only, as services are. */
const place = (address: number, port: number): number => (address >>> 0) * 65536 + port;

/**
 * Take stale UDP flows away.
 * @param states every service port in force
 * @param nodeIP the address NodePorts are open on
 * @returns flows taken away
 */
export function sweepStaleFlows(table: Conntrack, states: Iterable<ServicePortState>, nodeIP: string): number {
  const own = addressWords(nodeIP)[3]!;
  const serving = servingByFrontend(states);
  const { words, state, addressWords: span } = table;
  const used = Math.min(state[StateWord.WATERMARK]!, table.max);
  let swept = 0;
  for (let record = 0; record < used; record++) {
    const at = recordAt(table, record);
    const meta = words[at + Rec.META]!;
    if ((meta & (Status.CONFIRMED | Status.DEAD)) !== Status.CONFIRMED || ((meta >>> 16) & 0xff) !== UDP) continue;
    const original = tupleAt(table, record, 0);
    const reply = tupleAt(table, record, 1);
    const asked = words[original + 2 * span - 1]!;
    const askedPort = words[original + 2 * span]! & 0xffff;
    const isNode = asked === own || asked >>> 24 === 127;
    const endpoints = serving.get(place(asked, askedPort)) ?? (isNode ? serving.get(place(0, askedPort)) : undefined);
    const stale = endpoints
      ? !endpoints.has(place(words[reply + span - 1]!, words[reply + 2 * span]! >>> 16))
      : words[at + Rec.ENDPOINT] !== 0;
    if (stale && removeRecord(table, record)) swept++;
  }
  return swept;
}

/** Endpoints that serve, by the address and port asked for; a NodePort's address is 0. */
function servingByFrontend(states: Iterable<ServicePortState>): Map<number, Set<number>> {
  const serving = new Map<number, Set<number>>();
  for (const { protocol, frontends, serving: keys } of states) {
    if (protocol !== UDP) continue;
    const endpoints = new Set<number>();
    for (const key of keys) {
      const colon = key.lastIndexOf(':');
      endpoints.add(place(addressWords(key.slice(0, colon))[3]!, Number(key.slice(colon + 1))));
    }
    for (const { kind, address, port } of frontends) {
      serving.set(place(kind === FrontendKind.NODE_PORT ? 0 : address[3]!, port), endpoints);
    }
  }
  return serving;
}
