/** Rules of standards on addresses, fragments and path MTUs that no other file of this folder is about. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { A, B, NODE, natNode, onlySent, SERVER } from '../lib/nat-node.ts';
import { exchange, TestNode } from '../lib/test-node.ts';

const FAR = '10.244.2.2';

test('RFC 4787 REQ-7: a host outside with an address of the pods’ or services’ networks: pods reach the pod or service, and packets of that host are dropped', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`] });
  for (const overlapping of [B, FAR, '10.244.9.9']) {
    assert.is(n.receive('host', `udp ${overlapping}:53 > ${NODE}:40000 len 8`), 'spoofed-source-ip', overlapping);
  }
  assert.is(n.receive('a', `udp ${A}:4000 > 10.96.0.10:53 len 8`), 'forwarded');
  assert.is(n.receive('a', `udp ${A}:4000 > ${B}:53 len 8`), 'forwarded');
  assert.is(n.sentFrames('host').length, 0);
});

test('RFC 1858 §3, RFC 3128: the TCP header is in the first fragment, whole, and no later fragment begins within it', () => {
  for (const bytes of [8, 16]) {
    const n = natNode();
    assert.is(
      n.receive('a', `tcp ${A} > ${SERVER} len ${bytes} frag id 1 offset 0 more`),
      'fragment-tiny',
      `${bytes} bytes`,
    );
    assert.equal(n.out, []);
  }
  for (const offset of [8, 16]) {
    const n = natNode();
    assert.is(n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S len 44 frag id 1 offset 0 more`), 'to-host');
    n.out.length = 0;
    const verdict = n.receive('a', `tcp ${A} > ${SERVER} len 64 frag id 1 offset ${offset}`);
    assert.ok(['fragment-tiny', 'fragment-overlap'].includes(verdict), `at ${offset}: ${verdict}`);
    assert.equal(n.out, []);
  }
});

test('RFC 791: a fragment does not end beyond 65535 bytes', () => {
  const n = natNode();
  assert.is(n.receive('a', `udp ${A} > ${SERVER} len 64 frag id 1 offset 65496`), 'fragment-too-long');
  assert.equal(n.out, []);
});

/** Pod a has sent to the pod of another node; a router between the nodes reports an MTU. */
function reported(n: TestNode, mtu: number): string {
  n.receive('a', `udp ${A}:4000 > ${FAR}:53 len 1300`);
  const sent = onlySent(n, 'host').bytes;
  const port = new DataView(sent.buffer, sent.byteOffset).getUint16(34);
  const inner = `udp ${A}:4000 > ${FAR}:53 len 1300`;
  const overlay = `vxlan ${NODE}:${port} > 172.18.0.12:4789 vni 1 (${inner})`;
  return n.receive('host', `icmp 172.18.0.254 > ${NODE} unreachable fragmentation-needed mtu ${mtu} (${overlay})`);
}

/** The largest datagram's payload that passes to the other node. */
function largest(n: TestNode): number {
  for (let bytes = 1460; bytes > 0; bytes -= 10) {
    if (n.receive('a', `udp ${A}:4000 > ${FAR}:53 len ${bytes}`) === 'encapsulated') return bytes;
  }
  return 0;
}

test('RFC 1191 §3, §6.3: a report never raises the MTU of a path, and none lowers it below what links have', () => {
  const before = largest(new TestNode().pod('a', A).peer(2));
  for (const mtu of [9000, 65535, 1500]) {
    const n = new TestNode().pod('a', A).peer(2);
    reported(n, mtu);
    assert.is(largest(n), before, `${mtu} reported`);
  }
  for (const mtu of [68, 0, 552]) {
    const n = new TestNode().pod('a', A).peer(2);
    reported(n, mtu);
    assert.ok(largest(n) >= 400, `${mtu} reported: ${largest(n)} bytes pass`);
  }
});

test('RFC 4821, RFC 2923: TCP works where ICMP is filtered: both sides get a segment size that fits the path', () => {
  const [one, two] = [
    new TestNode({ number: 1 }).pod('a', A).peer(2),
    new TestNode({ number: 2 }).pod('far', FAR).peer(1),
  ];
  one.receive('a', `tcp ${A}:4000 > ${FAR}:80 S seq 1 <mss 8960>`);
  exchange(one, two);
  const mssOf = (line: string | undefined): number => Number(/mss (\d+)/.exec(line ?? '')?.[1]);
  assert.is(mssOf(two.sentFully('far')[0]), 1410);
  two.receive('far', `tcp ${FAR}:80 > ${A}:4000 SA seq 9 ack 2 <mss 8960>`);
  exchange(one, two);
  assert.is(mssOf(one.sentFully('a')[0]), 1410);
});

test.run();
