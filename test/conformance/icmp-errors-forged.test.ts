/**
 * RFC 5927, ICMP attacks: an error is translated, and acted on, only if the packet that it quotes can have been sent. Whoever
 * is not on a connection's path has to guess more than its addresses and ports.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HopWord } from '../../native-free-dataplane/node/config.ts';
import { firstNodeHop, hopAt } from '../../native-free-dataplane/node/hops.ts';
import { A, B, NODE, natNode, ROUTER, SERVER, tableWords } from '../lib/nat-node.ts';
import { TestNode } from '../lib/test-node.ts';

const NOT_SENT = 'icmp-error-not-sent';
const CLIENT_ISN = 1000;
const SERVER_ISN = 5000;

/** Pod a and a server outside, established; a has sent 1001 to 1300, of which 1001 to 1200 are acknowledged. */
function established(): TestNode {
  const n = natNode();
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 S seq ${CLIENT_ISN}`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:40000 SA seq ${SERVER_ISN} ack ${CLIENT_ISN + 1}`);
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 A seq ${CLIENT_ISN + 1} ack ${SERVER_ISN + 1}`);
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 PA seq ${CLIENT_ISN + 1} ack ${SERVER_ISN + 1} len 300`);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:40000 PA seq ${SERVER_ISN + 1} ack ${CLIENT_ISN + 201} len 50`);
  n.out.length = 0;
  return n;
}

const toClient = (seq: number): string =>
  `icmp ${ROUTER} > ${NODE} unreachable host (tcp ${NODE}:40000 > ${SERVER}:80 PA seq ${seq} ack 1 len 100)`;
const toServer = (seq: number): string =>
  `icmp ${A} > ${SERVER} unreachable port (tcp ${SERVER}:80 > ${A}:40000 PA seq ${seq} ack 1 len 50)`;

for (const [what, seq, verdict] of [
  ['the oldest that is in flight', CLIENT_ISN + 201, 'forwarded'],
  ['the newest', CLIENT_ISN + 300, 'forwarded'],
  ['what is sent next: an acknowledgement', CLIENT_ISN + 301, 'forwarded'],
  ['a keep-alive probe', CLIENT_ISN + 200, 'forwarded'],
  ['one that was acknowledged', CLIENT_ISN + 199, NOT_SENT],
  ['one that was never sent', CLIENT_ISN + 302, NOT_SENT],
  ['half the sequence space away', (CLIENT_ISN + 0x8000_0000) >>> 0, NOT_SENT],
] as const) {
  test(`RFC 5927 §4.1: the quoted TCP sequence number is ${what}: ${verdict}`, () => {
    const n = established();
    const before = tableWords(n);
    assert.is(n.receive('host', toClient(seq)), verdict);
    assert.is(n.sent('a').length, verdict === 'forwarded' ? 1 : 0);
    assert.equal(tableWords(n), before);
  });
}

test('the same for the other direction, from the pod itself', () => {
  const n = established();
  assert.is(n.receive('a', toServer(SERVER_ISN + 1)), 'to-host');
  assert.is(n.receive('a', toServer(SERVER_ISN - 1)), NOT_SENT);
  assert.is(n.receive('a', toServer(SERVER_ISN + 60)), NOT_SENT);
});

test('an unanswered SYN: an error about it passes, one about a guess does not', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 S seq ${0x7fffffff}`);
  assert.is(n.receive('host', toClient(0x7fffffff)), 'forwarded');
  assert.is(n.receive('host', toClient(0)), NOT_SENT);
  assert.is(n.receive('a', toServer(1)), NOT_SENT, 'no reply was seen');
});

test('a SYN that a connection ignores may be refused on its way', () => {
  const n = established();
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 S seq 900000`);
  assert.is(n.receive('host', toClient(900_000)), 'forwarded');
});

test('where the sequence is not known every number passes: a connection picked up in the middle, and with the liberal option', () => {
  const n = natNode();
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:80 PA seq 1 ack 1 len 10`);
  assert.is(n.receive('host', toClient(77_777)), 'forwarded');
  const liberal = established();
  liberal.conntrack.settings[24] = 1;
  assert.is(liberal.receive('host', toClient(77_777)), 'forwarded');
});

for (const protocol of ['udp', 'sctp']) {
  test(`${protocol}: an error about a reply before there was one is none`, () => {
    const n = natNode();
    n.receive('a', `${protocol} ${A}:40000 > ${SERVER}:53 len 20`);
    const error = `icmp ${A} > ${SERVER} unreachable port (${protocol} ${SERVER}:53 > ${A}:40000 len 20)`;
    assert.is(n.receive('a', error), NOT_SENT);
    n.receive('host', `${protocol} ${SERVER}:53 > ${NODE}:40000 len 20`);
    assert.is(n.receive('a', error), 'to-host');
  });
}

test('"fragmentation needed" about a packet that fits is none; an old router reports 0', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 972`, { df: true });
  const error = (mtu: number): string =>
    `icmp ${ROUTER} > ${NODE} unreachable fragmentation-needed mtu ${mtu} (udp ${NODE}:40000 > ${SERVER}:53 len 972)`;
  assert.is(n.receive('host', error(1000)), NOT_SENT);
  assert.is(n.receive('host', error(999)), 'forwarded');
  assert.is(n.receive('host', error(0)), 'forwarded');
});

const FAR = '10.244.2.2';
const OTHER = '172.18.0.12';

/** MTU of the way to the other node after a router reported one about a VXLAN packet. */
function reported(mtu: number, quote: string, quotedBytes?: number): { verdict: string; mtu: number } {
  const n = new TestNode().pod('a', A).pod('b', B).peer(2).peer(3);
  n.receive('a', `tcp ${A}:40000 > ${FAR}:80 S seq ${CLIENT_ISN}`);
  n.receive('a', `udp ${A}:40000 > 10.244.3.2:53 len 1300`);
  const text = `icmp ${ROUTER} > ${NODE} unreachable fragmentation-needed mtu ${mtu} (vxlan ${NODE}:50000 > ${OTHER}:4789 vni 1 (${quote}))`;
  const verdict = n.receive('host', text, quotedBytes === undefined ? {} : { quotedBytes });
  return { verdict, mtu: n.node.hops[hopAt(firstNodeHop(n.node)) + HopWord.MTU] as number };
}

const inner = (seq: number): string => `tcp ${A}:40000 > ${FAR}:80 A seq ${seq} ack 1 len 1380`;

test('F2: a forged "fragmentation needed" about the overlay changes nothing: the packet inside must be in flight', () => {
  const sent = reported(552, inner(CLIENT_ISN));
  assert.equal(sent, { verdict: 'to-host', mtu: 552 }, 'the control');
  for (const forged of [
    inner(CLIENT_ISN + 500),
    `tcp ${A}:40001 > ${FAR}:80 A seq ${CLIENT_ISN} ack 1 len 1380`,
    `udp ${A}:40000 > ${FAR}:53 len 1380`,
    `tcp ${B}:40000 > ${FAR}:80 A seq ${CLIENT_ISN} ack 1 len 1380`,
    `udp ${A}:40000 > 10.244.3.2:53 len 1380`,
    `tcp ${FAR}:80 > ${A}:40000 A seq 1 ack 1 len 1380`,
    `icmp ${A} > ${FAR} unreachable port (udp ${FAR}:1 > ${A}:2 len 1300)`,
  ]) {
    assert.equal(reported(552, forged), { verdict: NOT_SENT, mtu: 1450 }, forged);
  }
});

test('F2: a report that quotes only eight bytes cannot be checked; it leaves pods 1280', () => {
  assert.equal(reported(552, inner(CLIENT_ISN), 28), { verdict: 'to-host', mtu: 1280 });
  assert.equal(reported(1400, inner(CLIENT_ISN), 28), { verdict: 'to-host', mtu: 1350 });
});

test.run();
