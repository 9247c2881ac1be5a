/**
 * Packets that are rare but legal, or wrong in a way that only a raw socket or another implementation produces: offload
 * headers of tunnels, replies that lost their way back, errors about connections whose pod is gone.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EventKind, eventHead, follow, readEvent } from '../../native-free-dataplane/conntrack/events.ts';
import { EVENT_WORDS } from '../../native-free-dataplane/conntrack/record.ts';
import { HopWord } from '../../native-free-dataplane/node/config.ts';
import { clearHop, firstNodeHop, hopAt } from '../../native-free-dataplane/node/hops.ts';
import { GSO_TCPV4 } from '../../native-free-dataplane/packet.ts';
import { processFrame } from '../../native-free-dataplane/pipeline.ts';
import { settle } from '../../native-free-dataplane/settle.ts';
import { Verdict, verdictName } from '../../native-free-dataplane/verdicts.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { loadFrame } from '../lib/frames/load-frame.ts';
import { A, B, GATEWAY, NODE, natNode, onlySent, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

const FAR = '10.244.2.2';
const GATEWAY_MAC = { dstMac: '0a:58:0a:f4:01:01' };
const vxlan = (inner: string) => `vxlan 172.18.0.12:50000 > ${NODE}:4789 vni 1 (${inner})`;
/** Offsets behind the start of a VXLAN frame. */
const OUTER_L4 = 14 + 20;
const INNER_L3 = OUTER_L4 + 8 + 8 + 14;

/** A VXLAN frame from node 2 with an offload header of its own. */
function receiveVxlan(n: TestNode, inner: string, header: (start: number) => Partial<TestNode['pkt']>): string {
  const bytes = frame(vxlan(inner), { outer: { ...GATEWAY_MAC, udpChecksum: true }, ...GATEWAY_MAC });
  loadFrame(n.pkt, bytes, 0);
  Object.assign(n.pkt, header(n.pkt.start));
  return verdictName(processFrame(n.pkt, n.dataplane, n.nowMs));
}

test('VXLAN whose outer checksum is pending, as a tunnel of the same machine sends it: the packet inside is complete', () => {
  const n = natNode();
  const pending = (start: number) => ({ needsChecksum: 1, checksumStart: start + OUTER_L4, checksumOffset: 6 });
  assert.is(receiveVxlan(n, `tcp ${FAR}:80 > ${A}:4000 S seq 1`, pending), 'forwarded');
  const sent = onlySent(n, 'a');
  assert.is(sent.needsChecksum, 0);
  assert.is(receiveVxlan(n, `udp ${FAR}:80 > ${A}:4000 len 20`, pending), 'forwarded');
});

test('VXLAN around a super-packet: the offsets in the offload header must be those of its headers', () => {
  const n = natNode();
  const large = `tcp ${FAR}:80 > ${A}:4000 PA seq 1 ack 1 len 2000`;
  const header = (outer: number, inner: number) => (start: number) => ({
    needsChecksum: 1,
    checksumStart: start + INNER_L3 + 20,
    checksumOffset: 16,
    gsoType: GSO_TCPV4,
    gsoSize: 1000,
    headersEnd: start + INNER_L3 + 40,
    outerL4: start + outer,
    innerL3: start + inner,
  });
  assert.is(receiveVxlan(n, large, header(OUTER_L4, INNER_L3 + 4)), 'offload-invalid');
  assert.is(receiveVxlan(n, large, header(OUTER_L4 + 4, INNER_L3)), 'offload-invalid');
  assert.is(n.flows, 0);
});

test('IPIP around a super-packet is refused: its offload header cannot describe one', () => {
  const n = natNode({ overlay: 'ipip' });
  const bytes = frame(`ipip 172.18.0.12 > ${NODE} (tcp ${FAR}:80 > ${A}:4000 S seq 1)`, GATEWAY_MAC);
  loadFrame(n.pkt, bytes, 0);
  Object.assign(n.pkt, { gsoType: GSO_TCPV4, gsoSize: 1000, needsChecksum: 1, checksumStart: n.pkt.start + 54 });
  assert.is(verdictName(processFrame(n.pkt, n.dataplane, n.nowMs)), 'offload-invalid');
});

test('a checksum that is pending beyond the end of the packet is refused', () => {
  const n = natNode();
  loadFrame(n.pkt, frame(`udp ${A}:4000 > ${B}:53 len 20`), n.portOf('a'));
  Object.assign(n.pkt, { needsChecksum: 1, checksumStart: n.pkt.end - 1, checksumOffset: 6 });
  assert.is(verdictName(processFrame(n.pkt, n.dataplane, n.nowMs)), 'offload-invalid');
});

test('an ICMP error about a TCP connection, on a node with several workers: the number in flight passes, a guess does not', () => {
  const n = natNode({ workers: 2 });
  n.receive('a', `tcp ${A}:4000 > ${SERVER}:80 S seq 1000`);
  const [port] = portsOf(onlySent(n, 'host'));
  const error = (sequence: number) =>
    n.receive(
      'host',
      `icmp 192.0.2.1 > ${NODE} unreachable host (tcp ${NODE}:${port} > ${SERVER}:80 S seq ${sequence})`,
    );
  assert.is(error(77_000_000), 'icmp-error-not-sent');
  assert.is(error(1000), 'forwarded');
  assert.ok(
    n.conntrack.locks.every((word) => word === 0),
    'a lock was left behind',
  );
});

test('an ICMP error about a connection whose pod is gone goes nowhere', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:4000 > ${SERVER}:53 len 8`);
  const [port] = portsOf(onlySent(n, 'host'));
  n.sync.removePod('a');
  const about = `udp ${NODE}:${port} > ${SERVER}:53 len 8`;
  const verdict = n.receive('host', `icmp 192.0.2.1 > ${NODE} unreachable host (${about})`);
  assert.match(verdict, /^no-route/);
  assert.equal(n.out, []);
});

test('who asked has left before the answer is ready: it is counted as undeliverable', () => {
  const n = natNode();
  n.receive('a', `icmp ${A} > ${GATEWAY} echo-request id 1 seq 1`);
  assert.is(n.sent('a').length, 1);
  clearHop(n.node, n.portOf('a'));
  assert.is(settle(n.pkt, n.dataplane, Verdict.PING_ANSWERED), Verdict.PORT_DOWN);
  assert.equal(n.out, []);
});

test('followers see every change of a TCP connection’s state, also one that changes no other word', () => {
  const n = natNode();
  follow(n.conntrack, n.nowMs);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 S seq 1000`);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5000 ack 1001`);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 A seq 1001 ack 5001`);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 PA seq 1001 ack 5001 len 5`);
  n.receive('a', `tcp ${A}:4000 > ${B}:80 FA seq 1006 ack 5001`);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 A seq 5001 ack 1007`);
  const copy = new Int32Array(EVENT_WORDS);
  const kinds = Array.from({ length: eventHead(n.conntrack) }, (_, i) => readEvent(n.conntrack, i, copy));
  // SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT; data changes no state.
  assert.equal(kinds, [EventKind.NEW, ...Array(4).fill(EventKind.UPDATE)]);
});

test('a service’s external address that is the node’s as well: its other ports belong to the node’s sockets', () => {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`], externalIP: '203.0.113.1' });
  const other = `tcp ${A}:4000 > 203.0.113.1:22 S`;
  assert.is(n.receive('a', other), 'rejected-tcp-reset', 'on no device: a closed port of the service');
  n.sync.setHostRoutes([{ network: addressWords('203.0.113.1')[3] as number, prefix: 32, source: undefined }]);
  assert.is(n.receive('a', `tcp ${A}:4001 > 203.0.113.1:22 S`), 'to-host');
  assert.is(n.receive('a', `tcp ${A}:4001 > 203.0.113.1:80 S`), 'forwarded');
});

test('destination port 0 is dropped for UDP as well (RFC 6335 §6)', () => {
  const n = natNode();
  assert.is(n.receive('a', `udp ${A}:4000 > ${B}:0 len 8`), 'port-zero');
  assert.is(n.flows, 0);
});

test('a reported MTU between nodes that the quoted packet fits, or that is no lower than the known one, changes nothing', () => {
  const n = natNode();
  const mtu = () => n.node.hops[hopAt(firstNodeHop(n.node)) + HopWord.MTU];
  n.receive('a', `udp ${A}:4000 > ${FAR}:53 len 1300`);
  const [sent = ''] = n.sentFully('host');
  const report = (reported: number) =>
    n.receive('host', `icmp 172.18.0.254 > ${NODE} unreachable fragmentation-needed mtu ${reported} (${sent})`);
  const before = mtu();
  report(1500);
  assert.is(mtu(), before);
  report(1350);
  const lowered = mtu();
  assert.ok(lowered! < before!, `${before} to ${lowered}`);
  report(1370);
  assert.is(mtu(), lowered);
});

test.run();
