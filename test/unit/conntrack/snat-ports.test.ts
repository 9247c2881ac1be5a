/** Source ports: the order of preference, the ports that are never used, and the connections that give up theirs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allocateRecord, freeRecord, scheduleRecord } from '../../../native-free-dataplane/conntrack/lifetime.ts';
import { hashSource, noteMapping } from '../../../native-free-dataplane/conntrack/mappings.ts';
import { type Conntrack, Rec, recordAt, Status } from '../../../native-free-dataplane/conntrack/record.ts';
import { findPort, portRequest } from '../../../native-free-dataplane/conntrack/snat-ports.ts';
import { tuplePortsAt, writeTuple } from '../../../native-free-dataplane/conntrack/tuple.ts';
import { InsertResult, insertRecord } from '../../../native-free-dataplane/conntrack/tuple-index.ts';
import { PROTOCOL_UDP, VXLAN_PORT } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { conntrackFaults } from '../../lib/conntrack-check.ts';
import { conntrackTable } from '../../lib/conntrack-table.ts';

const NODE = addressWords('172.18.0.11');
const POD = '10.244.1.2';
const SERVER = '198.51.100.7';
const LOW = 40000;
const HIGH = 40031;
const PORTS = HIGH - LOW + 1;
/** Timeout of an unanswered UDP connection (timeouts.ts). */
const UDP_MS = 30_000;
const NOW = 1_000_000;

interface Asked {
  readonly srcPort: number;
  readonly src?: string;
  readonly dst?: string;
  readonly low?: number;
  readonly high?: number;
  readonly ofNode?: number;
  readonly evicts?: number;
  readonly vxlanPort?: number;
  /** Status bits of the connection, besides SNAT. */
  readonly status?: number;
  /** Milliseconds for which the connection has been idle when it is inserted. */
  readonly idleMs?: number;
}

/**
 * Find a port for a new UDP connection from a pod through the node's address, and insert the connection with it.
 * @returns the port; undefined if there is none, in which case the tuple must be unchanged
 */
function connect(table: Conntrack, asked: Asked): number | undefined {
  const { srcPort, src = POD, dst = SERVER, low = LOW, high = HIGH, status = 0, idleMs = 0 } = asked;
  const record = allocateRecord(table, 0, NOW);
  const at = recordAt(table, record);
  const reply = at + Rec.TUPLES + table.tupleWords;
  table.words.fill(0, at, at + table.recordWords);
  table.words[at + Rec.META] = PROTOCOL_UDP << 16;
  table.words[at + Rec.EXPIRES] = NOW + UDP_MS - idleMs;
  writeTuple(table, table.words, at + Rec.TUPLES, addressWords(src), addressWords(dst), (srcPort << 16) | 53);
  writeTuple(table, table.words, reply, addressWords(dst), NODE, (53 << 16) | srcPort);
  portRequest.low = low;
  portRequest.high = high;
  portRequest.ofNode = asked.ofNode ?? 0;
  portRequest.vxlanPort = asked.vxlanPort ?? -1;
  portRequest.source = hashSource(table, addressWords(src), srcPort, PROTOCOL_UDP);
  portRequest.sequence = 0;
  portRequest.evicts = asked.evicts ?? 1;
  portRequest.nowMs = NOW;
  const found = findPort(table, at);
  const port = table.words[tuplePortsAt(table, reply)]! & 0xffff;
  if (!found) {
    assert.is(port, srcPort, 'the tuple is unchanged');
    freeRecord(table, record, 0, NOW);
    return undefined;
  }
  const translated = port === srcPort ? 0 : Status.SNAT;
  table.words[at + Rec.META] = (PROTOCOL_UDP << 16) | status | translated;
  assert.is(insertRecord(table, record, 0), InsertResult.INSERTED, 'the port found makes the tuple unique');
  scheduleRecord(table, record, 0, NOW);
  if (translated !== 0) noteMapping(table, record, portRequest.source);
  return port;
}

/** Fill the range with connections whose own ports are outside of it. @returns their ports, in order of creation */
function fill(table: Conntrack, asked: (i: number) => Partial<Asked>): (number | undefined)[] {
  return Array.from({ length: PORTS }, (_, i) => connect(table, { srcPort: 10_000 + i, evicts: 0, ...asked(i) }));
}

test('a connection keeps its own port if that is in the range and free', () => {
  const table = conntrackTable(1024);
  assert.is(connect(table, { srcPort: 40007 }), 40007);
  assert.is(connect(table, { srcPort: 40007, dst: '198.51.100.8' }), 40007, 'free at another destination');
});

test('a port outside the range, or in use at the destination, is replaced by one of the range', () => {
  const table = conntrackTable(1024);
  connect(table, { srcPort: 40007 });
  for (const asked of [{ srcPort: 1024 }, { srcPort: 40007, src: '10.244.1.3' }]) {
    const port = connect(table, asked)!;
    assert.ok(port >= LOW && port <= HIGH && port !== 40007, `${port}`);
  }
});

test('RFC 4787 REQ-1: a source gets the port of its last connection, although its own port is free', () => {
  const table = conntrackTable(1024);
  connect(table, { srcPort: 40007, src: '10.244.1.3' });
  const replaced = connect(table, { srcPort: 40007 });
  assert.is.not(replaced, 40007);
  assert.is(connect(table, { srcPort: 40007, dst: '198.51.100.8' }), replaced);
});

test('the order of the ports depends on the source alone: an empty table gives the same port again', () => {
  const ports = (): (number | undefined)[] =>
    Array.from({ length: 20 }, (_, i) => connect(conntrackTable(64), { srcPort: 10_000 + i }));
  assert.equal(ports(), ports());
  assert.ok(new Set(ports()).size > 5, 'different sources start at different ports');
});

test('RFC 4787 REQ-4: UDP keeps the parity of its port while a port of that parity is free', () => {
  const table = conntrackTable(1024);
  for (let i = 0; i < PORTS / 2; i++) {
    assert.is(connect(table, { srcPort: 10_001, src: `10.244.1.${i + 2}`, evicts: 0 })! & 1, 1, `connection ${i}`);
  }
  assert.is(connect(table, { srcPort: 10_001, src: '10.244.1.99', evicts: 0 })! & 1, 0, 'then the other parity');
});

test('every port of the range is used before the search fails, and a failed search changes nothing', () => {
  const table = conntrackTable(1024);
  const ports = fill(table, () => ({ status: Status.ASSURED }));
  assert.is(new Set(ports).size, PORTS);
  assert.is(connect(table, { srcPort: 9000 }), undefined);
  assert.is(connect(table, { srcPort: 9000, dst: '198.51.100.8' })! >= LOW, true, 'another destination has all ports');
  assert.equal(conntrackFaults(table), []);
});

test('CVE-2021-3773: a port of a socket of the node is not used on the node’s address, and is used on others', () => {
  const table = conntrackTable(1024);
  table.hostPorts[40007 >>> 5]! |= 1 << (40007 & 31);
  assert.is.not(connect(table, { srcPort: 40007, ofNode: 1 }), 40007);
  const ports = fill(table, () => ({ ofNode: 1, status: Status.ASSURED }));
  assert.is(ports.includes(40007), false);
  assert.is(connect(table, { srcPort: 40007, src: '10.244.1.3', dst: '198.51.100.8', ofNode: 0 }), 40007);
});

test('a UDP connection never gets the port of a tunnel: the node’s own VXLAN port, or a registered one', () => {
  for (const tunnel of [VXLAN_PORT, 40007]) {
    const table = conntrackTable(1024);
    const port = connect(table, { srcPort: tunnel, low: tunnel - 1, high: tunnel + 1, vxlanPort: 40007 });
    assert.is(Math.abs(port! - tunnel), 1, `${tunnel}`);
  }
});

test('a full range evicts the connection that has been idle for longest, of those that are not assured', () => {
  const table = conntrackTable(1024);
  const ports = fill(table, (i) => ({ idleMs: i === 12 ? 9000 : 1000 + i, status: i === 20 ? Status.ASSURED : 0 }));
  assert.is(connect(table, { srcPort: 9000, evicts: 0 }), undefined, 'only if the request permits it');
  assert.is(connect(table, { srcPort: 9000 }), ports[12]);
  assert.equal(conntrackFaults(table), []);
});

test('assured connections are never evicted, however long they have been idle', () => {
  const table = conntrackTable(1024);
  fill(table, () => ({ idleMs: 29_000, status: Status.ASSURED }));
  assert.is(connect(table, { srcPort: 9000 }), undefined);
});

test('a connection that uses its own port is never evicted', () => {
  const table = conntrackTable(1024);
  for (let port = LOW; port <= HIGH; port++) assert.is(connect(table, { srcPort: port, idleMs: 29_000 }), port);
  assert.is(connect(table, { srcPort: 9000 }), undefined);
});

test('the port of an expired connection is free, although the record has not been removed yet', () => {
  const table = conntrackTable(1024);
  const ports = fill(table, (i) => ({ status: Status.ASSURED, idleMs: i === 5 ? UDP_MS : 0 }));
  assert.is(connect(table, { srcPort: 9000, evicts: 0 }), ports[5]);
  assert.equal(conntrackFaults(table), []);
});

test.run();
