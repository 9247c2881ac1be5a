/**
 * Taking connections away from the agent's side: UDP flows to an endpoint that is gone, and what an operator flushes.
 *
 * A walk over the records in shared memory, in the agent's own thread: workers find the entries missing at their next
 * look-up and balance the flow anew (kubernetes pkg/proxy/conntrack/cleanup.go; issues 139628, 141371, 130542, 105657
 * are what goes wrong otherwise).
 */
import { type Conntrack, Rec, recordAt, StateWord, Status } from '../../native-free-dataplane/tables/conntrack.ts';
import { removeRecord } from '../../native-free-dataplane/tables/conntrack-index.ts';
import { FrontendKind } from '../../native-free-dataplane/tables/services.ts';
import type { RemovedEndpoint } from '../compile/service-sync.ts';

const UDP = 17;

/** Call `visit` with the first word of every live record. */
export function forEachRecord(table: Conntrack, visit: (record: number, at: number) => void): void {
  const { words, state } = table;
  const used = Math.min(state[StateWord.WATERMARK] ?? 0, table.max);
  for (let record = 0; record < used; record++) {
    const at = recordAt(table, record);
    if (((words[at + Rec.META] ?? 0) & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED) visit(record, at);
  }
}

/**
 * Take away the UDP flows of the given endpoints, by the service address they were opened to.
 * @param nodeIP last word of the node's address, which NodePort flows were opened to
 * @returns flows taken away
 */
export function flushEndpoints(table: Conntrack, removed: readonly RemovedEndpoint[]): number {
  const udp = removed.filter(({ servicePort }) => servicePort.protocol === UDP);
  if (udp.length === 0) return 0;
  const gone = new Set<string>();
  for (const { servicePort, address, port } of udp) {
    for (const frontend of servicePort.frontends) {
      const asked =
        frontend.kind === FrontendKind.NODE_PORT ? `*:${frontend.port}` : `${frontend.address[3]}:${frontend.port}`;
      const endpoint = port === 0 ? asked.replace('*', 'none') : `${address[3]}:${port}`;
      gone.add(`${asked} ${port === 0 ? 'none' : endpoint}`);
    }
  }
  const { words, tupleWords } = table;
  let flushed = 0;
  forEachRecord(table, (record, at) => {
    if ((((words[at + Rec.META] ?? 0) >>> 16) & 0xff) !== UDP) return;
    const original = at + Rec.TUPLES;
    const reply = original + tupleWords;
    const asked = words[original + 1];
    const askedPort = (words[original + 2] ?? 0) & 0xffff;
    const endpoint = words[reply];
    const endpointPort = (words[reply + 2] ?? 0) >>> 16;
    const translated = asked !== endpoint || askedPort !== endpointPort;
    const to = translated ? `${endpoint}:${endpointPort}` : 'none';
    if (!gone.has(`${asked}:${askedPort} ${to}`) && !gone.has(`*:${askedPort} ${to}`)) return;
    if (removeRecord(table, record)) flushed++;
  });
  return flushed;
}

/** Take away every connection; the number that were. */
export function flushAll(table: Conntrack): number {
  let flushed = 0;
  forEachRecord(table, (record) => {
    if (removeRecord(table, record)) flushed++;
  });
  return flushed;
}
