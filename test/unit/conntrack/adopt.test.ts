/** A connection that the kernel has translated so far goes on in our table, with the same translation. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AdoptedConnection, adoptConnection } from '../../../native-free-dataplane/conntrack/adopt.ts';
import { Status } from '../../../native-free-dataplane/conntrack/record.ts';
import { TcpState } from '../../../native-free-dataplane/conntrack/tcp/states.ts';
import { routeGeneration } from '../../../native-free-dataplane/node/config.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { conntrackFaults } from '../../lib/conntrack-check.ts';
import { A, B, isPacket, natNode, onlySent } from '../../lib/nat-node.ts';
import type { TestNode } from '../../lib/test-node.ts';

const SERVICE = '10.96.0.9';
const tuple = (src: string, srcPort: number, dst: string, dstPort: number) => ({
  src: addressWords(src),
  srcPort,
  dst: addressWords(dst),
  dstPort,
});

/** From pod a to a service whose endpoint is pod b. */
const connection = (more: Partial<AdoptedConnection> = {}): AdoptedConnection => ({
  protocol: 6,
  original: tuple(A, 4000, SERVICE, 80),
  reply: tuple(B, 8080, A, 4000),
  tcpState: TcpState.ESTABLISHED,
  status: Status.SEEN_REPLY | Status.ASSURED | Status.DNAT,
  timeoutMs: 1000,
  ...more,
});
const adopt = (n: TestNode, more: Partial<AdoptedConnection> = {}): boolean =>
  adoptConnection(n.conntrack, connection(more), routeGeneration(n.node) - 1, n.nowMs);

test('its segments are translated in both directions, whichever side sends first, and its windows are learned', () => {
  for (const serverFirst of [false, true]) {
    const n = natNode();
    assert.ok(adopt(n));
    const fromClient = () => {
      n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 PA seq 7000 ack 9000 len 10`);
      isPacket(onlySent(n, 'b'), `tcp ${A}:4000 > ${B}:8080 PA seq 7000 ack 9000 len 10`, { ttl: 63 });
      n.out.length = 0;
    };
    const fromServer = () => {
      n.receive('b', `tcp ${B}:8080 > ${A}:4000 PA seq 9000 ack 7000 len 20`);
      isPacket(onlySent(n, 'a'), `tcp ${SERVICE}:80 > ${A}:4000 PA seq 9000 ack 7000 len 20`, { ttl: 63 });
      n.out.length = 0;
    };
    if (serverFirst) fromServer();
    fromClient();
    if (!serverFirst) fromServer();
    n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 FA seq 7010 ack 9020`);
    n.receive('b', `tcp ${B}:8080 > ${A}:4000 FA seq 9020 ack 7011`);
    n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 A seq 7011 ack 9021`);
    assert.is(n.sentFrames('a').length + n.sentFrames('b').length, 3);
    assert.equal(conntrackFaults(n.conntrack), []);
  }
});

test('a handshake that has begun is ended here', () => {
  const n = natNode();
  assert.ok(adopt(n, { tcpState: TcpState.SYN_SENT, status: Status.DNAT }));
  n.receive('b', `tcp ${B}:8080 > ${A}:4000 SA seq 5000 ack 1001`);
  isPacket(onlySent(n, 'a'), `tcp ${SERVICE}:80 > ${A}:4000 SA seq 5000 ack 1001`, { ttl: 63 });
  n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 A seq 1001 ack 5001`);
  isPacket(onlySent(n, 'b'), `tcp ${A}:4000 > ${B}:8080 A seq 1001 ack 5001`, { ttl: 63 });
});

test('a flow of datagrams goes on; unused, it ends when the kernel would have ended it', () => {
  const n = natNode();
  assert.ok(adopt(n, { protocol: 17, tcpState: 0 }));
  n.receive('a', `udp ${A}:4000 > ${SERVICE}:80 len 5`);
  isPacket(onlySent(n, 'b'), `udp ${A}:4000 > ${B}:8080 len 5`, { ttl: 63 });
  const unused = natNode();
  assert.ok(adopt(unused));
  unused.advance(20_000);
  assert.is(unused.flows, 0);
});

test('one that the table has is not adopted a second time', () => {
  const n = natNode();
  assert.ok(adopt(n));
  assert.not.ok(adopt(n));
  assert.is(n.flows, 1);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test.run();
