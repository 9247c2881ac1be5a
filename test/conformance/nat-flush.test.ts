/** What goes on after `conntrack flush`, in the middle of its traffic, whichever side speaks first. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { flushRecord } from '../../native-free-dataplane/conntrack/flushed.ts';
import { StateWord } from '../../native-free-dataplane/conntrack/record.ts';
import { removeRecord } from '../../native-free-dataplane/conntrack/tuple-index.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { A, B, NODE, natNode, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const VIP = '10.96.0.10';

function flush({ conntrack }: TestNode, remove = flushRecord): number {
  let count = 0;
  for (let record = 0; record < conntrack.state[StateWord.WATERMARK]!; record++) {
    if (remove(conntrack, record)) count++;
  }
  return count;
}

/** Pod a downloads from the server, from a port whose mapping is not its own. Returns the external port. */
function download(n: TestNode): number {
  n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 S seq 1000`);
  const [port] = portsOf(onlySent(n, 'host'));
  assert.is.not(port, 30500, 'a NodePort’s number');
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 5000 ack 1001`);
  n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 A seq 1001 ack 5001`);
  n.out.length = 0;
  return port;
}

const data = (port: number, seq: number): string => `tcp ${SERVER}:80 > ${NODE}:${port} PA seq ${seq} ack 1001 len 100`;

for (const waitedMs of [0, 15_000, 60_000]) {
  test(`B2: the server speaks first, ${waitedMs / 1000} s after the flush: the mapping survives, for both sides`, () => {
    const n = natNode();
    const port = download(n);
    assert.is(flush(n), 1);
    assert.is(n.flows, 0);
    n.advance(waitedMs);
    n.countersMoved();
    assert.is(n.receive('host', data(port, 5001)), 'forwarded');
    assert.equal(n.sent('a'), [`tcp ${SERVER}:80 > ${A}:30500 PA`]);
    assert.is(n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 A seq 1001 ack 5101`), 'to-host');
    assert.is(portsOf(onlySent(n, 'host'))[0], port);
    assert.is(n.flows, 1);
    assert.equal(conntrackFaults(n.conntrack), []);
    // Its state is what it was: what does not fit is refused.
    assert.is(n.receive('host', data(port, 0x7000_0000)), 'conntrack-invalid');
  });
}

test('a packet that is dropped does not resume its connection; the next one that fits does', () => {
  const n = natNode();
  const port = download(n);
  flush(n);
  for (const [verdict, from, text, ttl] of [
    ['ttl-exceeded', 'a', `tcp ${A}:30500 > ${SERVER}:80 PA seq 1001 ack 5001 len 10`, 1],
    ['conntrack-invalid', 'host', data(port, 0x7000_0000), 64],
    ['conntrack-invalid', 'a', `tcp ${A}:30500 > ${SERVER}:80 PA seq ${0x7000_0000} ack 5001 len 10`, 64],
  ] as const) {
    for (let again = 0; again < 3; again++) assert.is(n.receive(from, text, { ttl }), verdict);
    assert.is(n.flows, 0, text);
  }
  n.out.length = 0;
  assert.is(n.receive('host', data(port, 5001)), 'forwarded');
  assert.equal(n.sent('a'), [`tcp ${SERVER}:80 > ${A}:30500 PA`]);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('the client speaks first: the same external port', () => {
  const n = natNode();
  const port = download(n);
  flush(n);
  n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 PA seq 1001 ack 5001 len 10`);
  assert.is(portsOf(onlySent(n, 'host'))[0], port);
  assert.is(n.receive('host', data(port, 5001)), 'forwarded');
});

test('a flushed connection is forgotten after two minutes, and when its record is used again', () => {
  const late = natNode();
  const port = download(late);
  flush(late);
  late.advance(140_000);
  assert.is(late.receive('host', data(port, 5001)), 'to-host', 'the node’s own');
  const busy = natNode({ maxConntrack: 16 });
  const other = download(busy);
  flush(busy);
  busy.advance(20_000);
  for (let i = 0; i < 64; i++) busy.receive('a', `udp ${A}:${2000 + i} > ${SERVER}:9 len 8`);
  assert.is(busy.receive('host', data(other, 5001)), 'to-host');
});

test('a port that was given away meanwhile is its new owner’s', () => {
  const n = natNode({ masqueradePorts: [40000, 40000] });
  const port = download(n);
  flush(n);
  n.receive('b', `tcp ${B}:30501 > ${SERVER}:80 S seq 9`);
  assert.is(portsOf(onlySent(n, 'host'))[0], port);
  n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${port} SA seq 77 ack 10`);
  assert.equal([n.sent('a').length, n.sent('b').length], [0, 1]);
  assert.is(n.receive('a', `tcp ${A}:30500 > ${SERVER}:80 PA seq 1001 ack 5001 len 10`), 'rejected-prohibited');
});

test('a connection that ended otherwise is not taken up', () => {
  const n = natNode();
  const port = download(n);
  assert.is(flush(n, removeRecord), 1);
  assert.is(n.receive('host', data(port, 5001)), 'to-host');
});

test('TCP through a service stays with its endpoint, also when the endpoint speaks first; a new SYN chooses anew', () => {
  const n = natNode().service(`tcp ${VIP}:80`, { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 S seq 1000`);
  n.receive('b', `tcp ${B}:8080 > ${A}:4000 SA seq 5000 ack 1001`);
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 A seq 1001 ack 5001`);
  n.service(`tcp ${VIP}:80`, { endpoints: ['10.244.2.9:8080'] });
  flush(n);
  n.out.length = 0;
  n.receive('b', `tcp ${B}:8080 > ${A}:4000 PA seq 5001 ack 1001 len 10`);
  assert.equal(n.sent('a'), [`tcp ${VIP}:80 > ${A}:4000 PA`]);
  flush(n);
  n.receive('a', `tcp ${A}:4000 > ${VIP}:80 PA seq 1001 ack 5011 len 10`);
  assert.equal(n.sent('b'), [`tcp ${A}:4000 > ${B}:8080 PA`]);
  flush(n);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${VIP}:80 S seq 90000`), 'encapsulated');
});

test('UDP: a masqueraded socket keeps its port when the server speaks first; a service chooses anew', () => {
  const n = natNode().service(`udp ${VIP}:53`, { endpoints: [`${B}:53`] });
  n.receive('a', `udp ${A}:30500 > ${SERVER}:4433 len 8`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.receive('a', `udp ${A}:4000 > ${VIP}:53 len 8`);
  n.sent('b');
  n.service(`udp ${VIP}:53`, { endpoints: ['10.244.2.9:53'] });
  assert.is(flush(n), 2);
  n.receive('host', `udp ${SERVER}:4433 > ${NODE}:${port} len 8`);
  assert.equal(n.sent('a'), [`udp ${SERVER}:4433 > ${A}:30500`]);
  assert.is(n.receive('a', `udp ${A}:4000 > ${VIP}:53 len 8`), 'encapsulated');
});

test.run();
