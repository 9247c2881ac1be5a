/**
 * Taking connections away from the agent's side: flows to an endpoint that is gone, or past a service that is new.
 *
 * A walk over the records in shared memory, in the agent's own thread: workers find the entries missing at their next
 * look-up and balance the flow anew (kubernetes pkg/proxy/conntrack/cleanup.go; issues 139628, 141371, 130542, 105657
 * are what goes wrong otherwise).
 */
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
import type { RemovedEndpoint } from '../compile/service-sync.ts';

const TCP = 6;
const UDP = 17;

/** Call `visit` with the first word of every live record. */
function forEachRecord(table: Conntrack, visit: (record: number, at: number) => void): void {
  const { words, state } = table;
  const used = Math.min(state[StateWord.WATERMARK] ?? 0, table.max);
  for (let record = 0; record < used; record++) {
    const at = recordAt(table, record);
    if (((words[at + Rec.META] ?? 0) & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED) visit(record, at);
  }
}

/** Address and port as one number: exact below 2^48. */
const placeOf = (address: number, port: number): number => (address >>> 0) * 65536 + port;
/** Instead of an endpoint: connections that were never translated. */
const NEVER_TRANSLATED = -1;

/**
 * Take away the flows of the given endpoints, by the service address they were opened to: UDP, and of TCP those that
 * were never translated nor answered, whose next SYN then finds the service.
 * @param nodeIP last word of the node's address, on which NodePorts are open
 * @returns flows taken away
 */
export function flushEndpoints(table: Conntrack, removed: readonly RemovedEndpoint[], nodeIP: number): number {
  const gone = new Map<string, Set<number>>();
  for (const { servicePort, address, port } of removed) {
    const { protocol, frontends } = servicePort;
    const endpoint = port === 0 ? NEVER_TRANSLATED : placeOf(address[3] as number, port);
    if (protocol !== UDP && (protocol !== TCP || endpoint !== NEVER_TRANSLATED)) continue;
    for (const frontend of frontends) {
      const asked = frontend.kind === FrontendKind.NODE_PORT ? 0 : (frontend.address[3] as number);
      const key = keyOf(protocol, placeOf(asked, frontend.port));
      const endpoints = gone.get(key);
      if (endpoints) endpoints.add(endpoint);
      else gone.set(key, new Set([endpoint]));
    }
  }
  return gone.size === 0 ? 0 : flush(table, gone, nodeIP);
}

/** A frontend; NodePorts have address 0. */
const keyOf = (protocol: number, place: number): string => `${protocol} ${place}`;

function flush(table: Conntrack, gone: ReadonlyMap<string, ReadonlySet<number>>, nodeIP: number): number {
  const { words, addressWords: span } = table;
  const ports = new Set([...gone.keys()].map((key) => Number(key.split(' ')[1]) % 65536));
  let flushed = 0;
  forEachRecord(table, (record, at) => {
    const original = tupleAt(table, record, 0);
    const askedPort = (words[original + 2 * span] as number) & 0xffff;
    // Nearly all connections are passed over here, before anything is looked up.
    if (!ports.has(askedPort)) return;
    const meta = words[at + Rec.META] as number;
    const protocol = (meta >>> 16) & 0xff;
    if (protocol === TCP && (meta & Status.SEEN_REPLY) !== 0) return;
    const asked = words[original + 2 * span - 1] as number;
    const isNode = asked === nodeIP || asked >>> 24 === 127;
    const endpoints =
      gone.get(keyOf(protocol, placeOf(asked, askedPort))) ??
      (isNode ? gone.get(keyOf(protocol, placeOf(0, askedPort))) : undefined);
    if (endpoints === undefined) return;
    const reply = tupleAt(table, record, 1);
    const endpoint = placeOf(words[reply + span - 1] as number, (words[reply + 2 * span] as number) >>> 16);
    const to = endpoint === placeOf(asked, askedPort) ? NEVER_TRANSLATED : endpoint;
    if (endpoints.has(to) && removeRecord(table, record)) flushed++;
  });
  return flushed;
}
