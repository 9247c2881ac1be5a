/** RFC 5508: ICMP queries through a NAT, mapped by identifier; and ICMP that is neither query nor error. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timeoutsWith } from '../../native-free-dataplane/conntrack/timeouts.ts';
import {
  A,
  B,
  entries,
  isPacket,
  NODE,
  natNode,
  onlySent,
  portsOf,
  ROUTER,
  SERVER,
  secondsLeft,
} from '../lib/nat-node.ts';

for (const [request, reply] of [
  ['echo-request', 'echo-reply'],
  ['timestamp-request', 'timestamp-reply'],
  ['mask-request', 'mask-reply'],
] as const) {
  test(`RFC 5508 REQ-1: ${request} is mapped by its identifier, and ${reply} comes back`, () => {
    const n = natNode();
    n.receive('a', `icmp ${A} > ${SERVER} ${request} id 700 seq 1 len 12`);
    isPacket(onlySent(n, 'host'), `icmp ${NODE} > ${SERVER} ${request} id 700 seq 1 len 12`);
    n.receive('b', `icmp ${B} > ${SERVER} ${request} id 700 seq 2 len 12`);
    const second = onlySent(n, 'host');
    const [identifier] = portsOf(second);
    assert.is.not(identifier, 700);
    isPacket(second, `icmp ${NODE} > ${SERVER} ${request} id ${identifier} seq 2 len 12`);
    assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} ${reply} id ${identifier} seq 2 len 12`), 'forwarded');
    isPacket(onlySent(n, 'b'), `icmp ${SERVER} > ${B} ${reply} id 700 seq 2 len 12`);
    assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} ${reply} id 700 seq 1 len 12`), 'forwarded');
    isPacket(onlySent(n, 'a'), `icmp ${SERVER} > ${A} ${reply} id 700 seq 1 len 12`);
  });
}

test('OVS 627fef05b: many hosts ping one server with the same identifier through one address at the same time', () => {
  const n = natNode().pod('c', '10.244.1.4').pod('d', '10.244.1.5');
  const pods: Record<string, string> = { a: A, b: B, c: '10.244.1.4', d: '10.244.1.5' };
  const outside = new Map<string, number>();
  for (const [pod, address] of Object.entries(pods)) {
    n.receive(pod, `icmp ${address} > ${SERVER} echo-request id 7 seq 1 len 8`);
    outside.set(pod, portsOf(onlySent(n, 'host'))[0]);
  }
  assert.is(new Set(outside.values()).size, 4);
  for (const [pod, identifier] of outside) {
    n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id ${identifier} seq 1 len 8`);
    isPacket(onlySent(n, pod), `icmp ${SERVER} > ${pods[pod]} echo-reply id 7 seq 1 len 8`);
  }
});

test('RFC 5508 REQ-2 (differs, as netfilter): a query mapping is kept for 30 s instead of 60; the operator can configure 60', () => {
  const n = natNode();
  n.receive('a', `icmp ${A} > ${SERVER} echo-request id 7 seq 1`);
  assert.is(secondsLeft(n), 30);
  n.conntrack.settings.set(timeoutsWith({ icmp: 60 }));
  n.receive('a', `icmp ${A} > ${SERVER} echo-request id 7 seq 2`);
  assert.is(secondsLeft(n), 60);
  n.advance(59_000);
  assert.is(n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id 7 seq 2`), 'forwarded');
});

test('RFC 5508 REQ-11: redirects, router advertisements and all types that are neither query nor error are dropped', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const redirect = `icmp ${ROUTER} > ${NODE} redirect (udp ${NODE}:40000 > ${SERVER}:53 len 20)`;
  assert.is(n.receive('host', redirect), 'icmp-redirect');
  assert.is(n.receive('a', `icmp ${A} > ${B} redirect (udp ${B}:1 > ${A}:2 len 20)`), 'icmp-redirect');
  for (const type of ['router-advertisement', 'router-solicitation', 'type-15', 'type-30', 'type-42', 'type-255']) {
    assert.is(n.receive('a', `icmp ${A} > ${B} ${type} id 1 seq 1`), 'conntrack-invalid', type);
    assert.is(n.receive('a', `icmp ${A} > ${SERVER} ${type} id 1 seq 1`), 'conntrack-invalid', type);
  }
  assert.equal(n.out, []);
  assert.is(entries(n).length, 1);
});

test.run();
