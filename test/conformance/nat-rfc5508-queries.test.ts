/** RFC 5508: ICMP queries through a NAT, mapped by identifier; and ICMP that is neither query nor error. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { timeoutsWith } from '../../native-free-dataplane/conntrack/timeouts.ts';
import { verdictTotal } from '../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import {
  A,
  B,
  entries,
  isPacket,
  NODE,
  natNode,
  OTHER,
  onlySent,
  portsOf,
  ROUTER,
  SERVER,
  secondsLeft,
} from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

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

test('the node’s own ping and a pod’s to one host, with one identifier: each gets its replies, whoever was first', () => {
  // A copy of what the node itself sends.
  const own = (n: TestNode, seq: number) =>
    assert.is(n.receive('host', `icmp ${NODE} > ${SERVER} echo-request id 7 seq ${seq} len 8`), 'own-ping');
  const ofPod = (n: TestNode, seq: number): number => {
    n.receive('a', `icmp ${A} > ${SERVER} echo-request id 7 seq ${seq} len 8`);
    return portsOf(onlySent(n, 'host'))[0];
  };
  for (const first of ['the node', 'the pod']) {
    const n = natNode();
    if (first === 'the pod') assert.is(ofPod(n, 1), 7);
    own(n, 1);
    const identifier = ofPod(n, 2);
    assert.is.not(identifier, 7, first);
    own(n, 2);
    assert.is(ofPod(n, 3), identifier, 'it keeps the new one');
    n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id 7 seq 2 len 8`);
    isPacket(onlySent(n, 'host'), `icmp ${SERVER} > ${NODE} echo-reply id 7 seq 2 len 8`);
    n.receive('host', `icmp ${SERVER} > ${NODE} echo-reply id ${identifier} seq 3 len 8`);
    isPacket(onlySent(n, 'a'), `icmp ${SERVER} > ${A} echo-reply id 7 seq 3 len 8`);
    // Another host is another matter.
    n.receive('b', `icmp ${B} > ${OTHER} echo-request id 7 seq 1 len 8`);
    assert.is(portsOf(onlySent(n, 'host'))[0], 7);
    // An error about the node's ping is the node's.
    n.receive('host', `icmp ${ROUTER} > ${NODE} unreachable host (icmp ${NODE} > ${SERVER} echo-request id 7 seq 3)`);
    assert.is(n.sent('a').length, 0);
    assert.is(n.sent('host').length, 1);
    n.advance(31_000);
    assert.is(n.flows, 0, 'a query of either ends after 30 s');
    assert.is(verdictTotal(n.counters, Verdict.PING_UNANSWERED), 2, 'one of each pod; the node’s own do not count');
  }
});

test('a ping of the node’s to a Service, a pod or itself is no copy', () => {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${A}:80`], externalIP: '203.0.113.9' });
  const ping = (to: string) => n.receive('host', `icmp ${NODE} > ${to} echo-request id 7 seq 1 len 8`);
  assert.equal(['10.96.0.10', '203.0.113.9', A, NODE].map(ping), [
    'ping-answered',
    'ping-answered',
    'forwarded',
    'to-host',
  ]);
  assert.is(n.receive('host', `icmp 172.18.0.99 > ${SERVER} echo-request id 7 seq 1 len 8`), 'not-for-us');
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
