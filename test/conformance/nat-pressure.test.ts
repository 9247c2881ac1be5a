/**
 * Translation when all source ports are in use: which connections are evicted from their port, in which order, and
 * which never are. (cilium #23604, kubernetes #76699; linux nf_nat_used_tuple_harder; RFC 6191, RFC 5508 REQ-8.)
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { A, B, NODE, natNode, OTHER, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const FIRST = 40000;
/** Few enough ports that every search tries all of them. */
const LAST = 40031;
const PORTS: number = LAST - FIRST + 1;

const crowded = (): TestNode => natNode({ masqueradePorts: [FIRST, LAST] });

/** A pod's connection to the server outside; ISNs `isn` and 500. */
class Connection {
  readonly port: number;
  outside = 0;
  private readonly n: TestNode;
  private readonly isn: number;

  constructor(n: TestNode, port: number, isn = 1000) {
    this.n = n;
    this.port = port;
    this.isn = isn;
  }

  out(flags: string): string {
    const verdict = this.n.receive('a', `tcp ${A}:${this.port} > ${SERVER}:80 ${flags}`);
    const [sent] = this.n.sentFrames('host');
    if (sent) this.outside = portsOf(sent)[0];
    return verdict;
  }

  back(flags: string): boolean {
    const verdict = this.n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${this.outside} ${flags}`);
    const [line = ''] = this.n.sent('a');
    return verdict === 'forwarded' && line.startsWith(`tcp ${SERVER}:80 > ${A}:${this.port} `);
  }

  syn(): string {
    return this.out(`S seq ${this.isn}`);
  }

  establish(): boolean {
    if (this.syn() !== 'to-host' || !this.back(`SA seq 500 ack ${this.isn + 1}`)) return false;
    return this.out(`A seq ${this.isn + 1} ack 501`) === 'to-host';
  }

  /** Send data in both directions; the same bytes every time. */
  exchange(): boolean {
    const { isn, outside } = this;
    const sent = this.out(`PA seq ${isn + 1} ack 501 len 10`) === 'to-host' && this.outside === outside;
    return sent && this.back(`PA seq 501 ack ${isn + 11} len 20`);
  }

  /** Close the connection, first by the pod, then by the server: TIME_WAIT. */
  close(): boolean {
    const { isn } = this;
    return (
      this.out(`FA seq ${isn + 1} ack 501`) === 'to-host' &&
      this.back(`FA seq 501 ack ${isn + 2}`) &&
      this.out(`A seq ${isn + 2} ack 502`) === 'to-host'
    );
  }

  reset(): boolean {
    return this.back(`RA seq 501 ack ${this.isn + 1}`);
  }
}

/** Open and close `count` connections one after the other, each from the next port. */
function shortConnections(n: TestNode, count: number, from = 5000): Connection[] {
  return Array.from({ length: count }, (_, i) => {
    n.advance(1);
    const connection = new Connection(n, from + i, 1000 + i * 100);
    assert.ok(connection.establish(), `connection ${i} refused`);
    assert.ok(connection.close(), `connection ${i} not closed`);
    return connection;
  });
}

test('cilium #23604: any number of short connections to one server: each gets the port of the one closed first', () => {
  const n = crowded();
  const done = shortConnections(n, 10 * PORTS).map(({ outside }) => outside);
  for (let i = PORTS; i < done.length; i++) assert.is(done[i], done[i - PORTS], `connection ${i}`);
  assert.is(n.flows, PORTS);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('connections in use keep their ports, while closed ones are evicted', () => {
  const n = crowded();
  const old = Array.from({ length: PORTS - 2 }, (_, i) => new Connection(n, 20000 + i));
  for (const connection of old) assert.ok(connection.establish());
  shortConnections(n, 100);
  for (const connection of old) assert.ok(connection.exchange());
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('half-closed connections keep their ports', () => {
  const n = crowded();
  const old = Array.from({ length: PORTS }, (_, i) => new Connection(n, 20000 + i));
  for (const connection of old) {
    assert.ok(connection.establish());
    connection.out('FA seq 1001 ack 501');
    assert.ok(connection.back('A seq 501 ack 1002'));
  }
  assert.is(new Connection(n, 5000).syn(), 'rejected-prohibited');
  n.out.length = 0;
  for (const connection of old) assert.ok(connection.back('PA seq 501 ack 1002 len 20'));
});

test('RFC 6191: a port in TIME_WAIT is reused only by a SYN beyond its sequence numbers, that of a reset connection by any SYN', () => {
  const waiting = crowded();
  for (let i = 0; i < PORTS; i++) {
    const connection = new Connection(waiting, 5000 + i, 100_000);
    assert.ok(connection.establish() && connection.close());
  }
  for (const isn of [0, 99_999, 100_000, 100_001]) {
    assert.is(new Connection(waiting, 9000, isn).syn(), 'rejected-prohibited', `${isn}`);
    waiting.out.length = 0;
  }
  // Beyond the sequence number of its FIN.
  assert.is(new Connection(waiting, 9001, 100_003).syn(), 'to-host');
  assert.is(new Connection(waiting, 9002, 2_000_000_000).syn(), 'to-host');
  const reset = crowded();
  for (let i = 0; i < PORTS; i++) {
    const connection = new Connection(reset, 5000 + i, 100_000);
    assert.ok(connection.establish() && connection.reset());
  }
  assert.is(new Connection(reset, 9000, 0).syn(), 'to-host');
});

test('after an eviction the port belongs to the new connection alone, in both directions', () => {
  const n = crowded();
  const done = shortConnections(n, PORTS);
  const next = new Connection(n, 9000, 1_000_000);
  assert.ok(next.establish() && next.exchange());
  const former = done.find(({ outside }) => outside === next.outside)!;
  // A repetition of the closed connection's last acknowledgement does not match the new connection, and does not create
  // one, which would need a port.
  assert.is(former.out('A seq 1002 ack 502'), 'rejected-prohibited');
  n.out.length = 0;
  assert.ok(next.exchange());
  assert.is(n.flows, PORTS);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('unanswered SYNs are evicted from their ports, the oldest first: the next client is not refused', () => {
  const n = crowded();
  const flood = Array.from({ length: 4 * PORTS }, (_, i) => new Connection(n, 10000 + i));
  for (const connection of flood) {
    n.advance(1);
    assert.is(connection.syn(), 'to-host');
  }
  for (let i = PORTS; i < flood.length; i++) assert.is(flood[i]!.outside, flood[i - PORTS]!.outside);
  const client = new Connection(n, 9000);
  assert.is(client.syn(), 'to-host');
  // During its handshake, one SYN fewer than there are ports.
  for (let i = 0; i < PORTS - 1; i++) {
    n.advance(1);
    new Connection(n, 30000 + i).syn();
  }
  n.out.length = 0;
  assert.ok(client.back('SA seq 500 ack 1001'));
  assert.is(client.out('A seq 1001 ack 501'), 'to-host');
  for (let i = 0; i < 2 * PORTS; i++) new Connection(n, 32000 + i).syn();
  n.out.length = 0;
  assert.ok(client.exchange());
});

test('SYNs to a NodePort from random sources do not keep the next client out', () => {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`], nodePort: 31418 });
  // The class of ports below 512 is the smallest.
  for (let i = 0; i < 2000; i++) {
    n.advance(1);
    const source = `198.18.${i >> 8}.${i & 255}`;
    assert.is(n.receive('host', `tcp ${source}:100 > ${NODE}:31418 S seq ${i}`), 'forwarded', `${source}`);
  }
  assert.is(n.flows, 511);
  n.out.length = 0;
  assert.is(n.receive('host', `tcp ${OTHER}:100 > ${NODE}:31418 S seq 7`), 'forwarded');
  const [port] = portsOf(onlySent(n, 'b'));
  assert.ok(port >= 1 && port <= 511);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('datagrams of one pod to one address, from more ports than there are, do not keep other pods from that address', () => {
  const n = crowded();
  for (let port = 10000; port < 12000; port++) {
    assert.is(n.receive('a', `udp ${A}:${port} > ${SERVER}:53 len 8`), 'to-host');
  }
  n.out.length = 0;
  for (let port = 5000; port < 5003; port++) {
    assert.is(n.receive('b', `udp ${B}:${port} > ${SERVER}:53 len 8`), 'to-host');
    const [outside] = portsOf(onlySent(n, 'host'));
    assert.is(n.receive('host', `udp ${SERVER}:53 > ${NODE}:${outside} len 9`), 'forwarded');
    assert.equal(n.sent('b'), [`udp ${SERVER}:53 > ${B}:${port}`]);
  }
});

test('the port of a connection that has expired, but has not been removed yet, is free', () => {
  const n = crowded();
  for (let i = 0; i < PORTS; i++) assert.ok(new Connection(n, 5000 + i).establish());
  // Advance only the clock, without the periodic work that removes connections.
  n.nowMs += 86_400_001;
  assert.is(new Connection(n, 9000).syn(), 'to-host');
});

test('the node’s own connections, whose ports are not translated, are never evicted', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31418 });
  // The node sends to the pod from all ports of the class below 512.
  for (let port = 1; port <= 511; port++) n.receive('host', `udp 10.244.1.1:${port} > ${B}:53 len 8`);
  assert.is(n.flows, 511);
  n.out.length = 0;
  assert.is(n.receive('host', `udp ${OTHER}:100 > ${NODE}:31418 len 8`), 'rejected-prohibited');
  assert.is(n.flows, 511);
});

test('RFC 5508 REQ-8: when all ports are in use the answer is immediate, and each refusal is counted', () => {
  const n = crowded();
  for (let i = 0; i < PORTS; i++) assert.ok(new Connection(n, 5000 + i).establish());
  n.countersMoved();
  assert.is(n.receive('b', `tcp ${B}:5000 > ${SERVER}:80 S seq 1`), 'rejected-prohibited');
  assert.match(n.sent('b')[0] ?? '', `> ${B} unreachable prohibited`);
  assert.equal(n.countersMoved(), { 'rejected-prohibited': 1 });
  assert.is(n.receive('b', `tcp ${B}:5000 > ${OTHER}:80 S seq 1`), 'to-host');
});

test('a full table evicts closed connections, although they were established', () => {
  const n = natNode({ maxConntrack: 256 });
  for (let i = 0; i < 2000; i++) {
    n.advance(25);
    const connection = new Connection(n, 33000 + i, 1000 + i * 100);
    assert.ok(connection.establish() && connection.close(), `connection ${i}`);
  }
  assert.equal(conntrackFaults(n.conntrack), []);
});

test.run();
