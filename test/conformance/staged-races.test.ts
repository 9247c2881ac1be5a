/**
 * Races between two workers, staged: at the moment in which a worker takes the lock of a stripe, the other one has just
 * done its part. Real threads meet these moments only now and then (threads.test.ts).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  EVENT_RECORD,
  EventKind,
  eventHead,
  follow,
  NOT_YET,
  OVERTAKEN,
  publishEvent,
  readEvent,
} from '../../native-free-dataplane/conntrack/events.ts';
import { freeRecords } from '../../native-free-dataplane/conntrack/lifetime.ts';
import { EVENT_SLOTS, EVENT_WORDS, tupleAt } from '../../native-free-dataplane/conntrack/record.ts';
import { portRequest } from '../../native-free-dataplane/conntrack/snat-ports.ts';
import { segment } from '../../native-free-dataplane/conntrack/tcp/segment.ts';
import { tuplePortsAt } from '../../native-free-dataplane/conntrack/tuple.ts';
import { removeRecord } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { ARENA_BYTES, attachDataplane, type Emitter } from '../../native-free-dataplane/dataplane.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { A, B, flushedConnection, NODE, natNode, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode, TestNodeOptions } from '../lib/test-node.ts';

/** A node with two workers. Its own `receive` is the first one's. */
const twoWorkers = (options: TestNodeOptions = {}): TestNode => natNode({ ...options, workers: 2 });

/** The node as its second worker has it: the same tables, a descriptor and a chance of its own. */
function second(n: TestNode): TestNode {
  const pkt = new Packet(new ArrayBuffer(ARENA_BYTES));
  const emitter: Emitter = {
    emit: ({ outPort: port, bytes, start, end, needsChecksum, gsoType, gsoSize }) =>
      n.out.push({ port, bytes: bytes.slice(start, end), needsChecksum, gsoType, gsoSize }),
  };
  const dataplane = attachDataplane(n.buffers, 1, emitter, { tunnelOffload: true, udpSegmentation: true }, 99);
  return Object.create(n, { pkt: { value: pkt }, dataplane: { value: dataplane } }) as TestNode;
}

/**
 * Lets the first worker do its part. Each time it is about to take a lock of the index, the second does its own first;
 * `times` times at most. What a module keeps for its thread is restored, because here both are one thread.
 */
function overtaken(n: TestNode, first: () => void, other: (n: TestNode, time: number) => void, times = 1): void {
  const take = Atomics.compareExchange;
  const { locks } = n.dataplane.conntrack;
  const two = second(n);
  let time = 0;
  let inOther = false;
  const staged = (words: Int32Array, at: number, expected: number, value: number): number => {
    // Not with a lock in hand: an insertion takes two.
    if (words === locks && !inOther && time < times && locks.every((word) => word === 0)) {
      const [ofSegment, ofRequest] = [{ ...segment }, { ...portRequest }];
      inOther = true;
      other(two, time++);
      inOther = false;
      Object.assign(segment, ofSegment);
      Object.assign(portRequest, ofRequest);
    }
    return take(words, at, expected, value);
  };
  Atomics.compareExchange = staged as typeof Atomics.compareExchange;
  try {
    first();
  } finally {
    Atomics.compareExchange = take;
  }
  assert.is(time, times, 'the second worker did not run');
}

/** What is true after every race: the table is consistent, and no record was lost. */
function sound(n: TestNode, flows: number): void {
  assert.equal(conntrackFaults(n.conntrack), []);
  assert.is(n.flows, flows);
  assert.is(freeRecords(n.conntrack), n.conntrack.max - flows);
}

const DNS = '10.96.0.10';
const dnsNode = () =>
  twoWorkers().service(`udp ${DNS}:53`, { endpoints: ['10.244.2.2:53', '10.244.2.3:53', '10.244.2.4:53'] });
const endpointOf = (sent: string): string => /> (10\.244\.2\.\d+):53/.exec(sent)![1]!;

test('both workers have one first packet: the second adopts the endpoint of the first (kubernetes #56903)', () => {
  for (let port = 1000; port < 1020; port++) {
    const n = dnsNode();
    const query = `udp ${A}:${port} > ${DNS}:53 len 8`;
    overtaken(
      n,
      () => assert.is(n.receive('a', query), 'encapsulated'),
      (two) => assert.is(two.receive('a', query), 'encapsulated'),
    );
    const [one, two] = n.sent('host').map(endpointOf);
    assert.is(one, two, 'one endpoint');
    sound(n, 1);
  }
});

test('the first fragment on one worker, the whole datagram sent again on the other: one connection, both are forwarded', () => {
  const n = twoWorkers();
  const options = { id: 7, moreFragments: true };
  overtaken(
    n,
    () => assert.is(n.receive('a', `udp ${A}:4000 > ${B}:53 len 800`, options), 'forwarded'),
    (two) => assert.is(two.receive('a', `udp ${A}:4000 > ${B}:53 len 900`, { id: 8 }), 'forwarded'),
  );
  assert.is(n.receive('a', `udp ${A} > ${B} len 50 frag id 7 offset 808`), 'forwarded');
  assert.is(n.sent('b').length, 3);
  sound(n, 1);
});

test('simultaneous open: the other side’s SYN made the connection, this SYN is its reply', () => {
  const n = twoWorkers();
  overtaken(
    n,
    () => assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:5000 S seq 1`), 'forwarded'),
    (two) => assert.is(two.receive('b', `tcp ${B}:5000 > ${A}:4000 S seq 9`), 'forwarded'),
  );
  sound(n, 1);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${B}:5000 SA seq 1 ack 10`), 'forwarded');
});

test('the chosen source port was taken by another pod’s connection: another port, and both get their replies', () => {
  const n = twoWorkers();
  overtaken(
    n,
    () => assert.is(n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 8`), 'to-host'),
    (two) => assert.is(two.receive('b', `udp ${B}:40000 > ${SERVER}:53 len 8`), 'to-host'),
  );
  const ports = n.sentFrames('host').map((sent) => portsOf(sent)[0]);
  assert.is(new Set(ports).size, 2, `${ports}`);
  for (const port of ports) n.receive('host', `udp ${SERVER}:53 > ${NODE}:${port} len 8`);
  assert.is(n.sent('a').length, 1);
  assert.is(n.sent('b').length, 1);
  sound(n, 2);
});

test('the chosen source port is taken again and again: refused after eight attempts, counted, and nothing stays behind', () => {
  const n = twoWorkers();
  n.countersMoved();
  // Each time, the second worker makes a connection of b that has just the port the first has chosen.
  const taken = (two: TestNode): void => {
    const chosen = two.conntrack.words[tuplePortsAt(two.conntrack, tupleAt(two.conntrack, 0, 1))]! & 0xffff;
    assert.is(two.receive('b', `udp ${B}:${chosen} > ${SERVER}:53 len 8`), 'to-host');
  };
  overtaken(n, () => assert.is(n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 8`), 'rejected-prohibited'), taken, 8);
  assert.equal(n.countersMoved(), { 'to-host': 8, 'rejected-prohibited': 1 });
  assert.match(n.sent('a')[0]!, /unreachable prohibited/);
  sound(n, 8);
});

/** A node with a connection that was flushed, and whose record is free again. */
function flushed(): { n: TestNode; port: number; segment: string } {
  const n = twoWorkers();
  const found = flushedConnection(n);
  n.advance(100);
  return { n, ...found };
}

test('both sides resume a flushed connection at once: one record, with its old translation', () => {
  const { n, port, segment } = flushed();
  overtaken(
    n,
    () => assert.is(n.receive('a', segment), 'to-host'),
    (two) => assert.is(two.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} A seq 5001 ack 1001`), 'forwarded'),
  );
  assert.is(portsOf(onlySent(n, 'host'))[0], port);
  assert.is(n.sent('a').length, 1);
  assert.is(n.flows, 1);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('the port of a flushed connection goes to another pod while it is being resumed: that pod keeps it', () => {
  const { n, port, segment } = flushed();
  overtaken(
    n,
    () => n.receive('a', segment),
    // Its own port is that port, which is free.
    (two) => assert.is(two.receive('b', `tcp ${B}:${port} > ${SERVER}:80 S seq 7`), 'to-host'),
  );
  const [ofB, ...others] = n.sentFrames('host').map((sent) => portsOf(sent)[0]);
  assert.is(ofB, port);
  for (const other of others) assert.is.not(other, port);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 9 ack 8`);
  assert.is(n.sent('b').length, 1);
  assert.is(n.sent('a').length, 0);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('two remove one connection: it is counted and announced once', () => {
  const n = natNode();
  follow(n.conntrack, n.nowMs);
  n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`);
  assert.ok(removeRecord(n.conntrack, 0));
  assert.not.ok(removeRecord(n.conntrack, 0));
  assert.is(n.flows, 0);
  const copy = new Int32Array(EVENT_WORDS);
  const kinds = Array.from({ length: eventHead(n.conntrack) }, (_, i) => readEvent(n.conntrack, i, copy));
  assert.equal(kinds, [EventKind.NEW, EventKind.DESTROY]);
});

test('an event that is overwritten while it is copied is reported as overtaken, never returned half new', () => {
  const { conntrack } = natNode();
  publishEvent(conntrack, EventKind.NEW, 0);
  const copy = new Proxy(new Int32Array(EVENT_WORDS), {
    set(into, key, value: number) {
      if (key === `${EVENT_RECORD}`) for (let i = 0; i < EVENT_SLOTS; i++) publishEvent(conntrack, EventKind.UPDATE, 0);
      into[Number(key)] = value;
      return true;
    },
  });
  assert.is(readEvent(conntrack, 0, copy), OVERTAKEN);
});

test('an event that another worker has announced and is still writing is not read yet', () => {
  const { conntrack } = natNode();
  publishEvent(conntrack, EventKind.NEW, 0);
  const written = conntrack.events[0]!;
  conntrack.events[0] = 0;
  const copy = new Int32Array(EVENT_WORDS);
  assert.is(readEvent(conntrack, 0, copy), NOT_YET);
  conntrack.events[0] = written;
  assert.is(readEvent(conntrack, 0, copy), EventKind.NEW);
});

test.run();
