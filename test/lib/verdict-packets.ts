/**
 * A packet for every verdict of the pipeline: the node it needs, preceding packets, and the frame itself. The verdicts
 * for "no reply was permitted" need none: they are the packets of their answered counterparts with the rate limit
 * exhausted (test/unit/verdicts.test.ts).
 */
import { allocateRecord } from '../../native-free-dataplane/conntrack/lifetime.ts';
import { setBandwidth, Toward } from '../../native-free-dataplane/node/bandwidth.ts';
import { Budget, setBudget } from '../../native-free-dataplane/node/budgets.ts';
import { clearHop } from '../../native-free-dataplane/node/hops.ts';
import { verdictTotal } from '../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { concat, type FrameOptions, ipPacket } from './frames/frame-builder.ts';
import { frame } from './frames/frame-text.ts';
import { A, B, ETHERNET, GATEWAY, HOST_MACS, NODE, natNode, SERVER } from './nat-node.ts';
import { policyPod, setPolicies } from './policies/policy-node.ts';
import type { TestNode, TestNodeOptions } from './test-node.ts';

export interface VerdictPacket {
  /** Name of the verdict. */
  readonly verdict: string;
  /** Distinguishes several packets of the same verdict. */
  readonly of?: string;
  readonly node?: TestNodeOptions;
  /** Preceding packets. */
  readonly before?: (n: TestNode) => void;
  /** Port the frame comes from. */
  readonly from: 'a' | 'b' | 'host';
  /** Pass the frame to the node. @returns the verdict's name */
  readonly send: (n: TestNode) => string;
}

const MAC_A = '0a:58:0a:f4:01:02';
const MAC_B = '0a:58:0a:f4:01:03';
const FAR = '10.244.2.2';
const SERVICE = '10.96.0.10';
const DNS = '10.96.0.20';
const LOAD_BALANCER = '203.0.113.10';

/** The default node: pods a and b, node 2, a web service on b, and services without an endpoint. */
export function nodeOf(packet: VerdictPacket): TestNode {
  const n = natNode(packet.node)
    .service(`tcp ${SERVICE}:80`, { endpoints: [`${B}:80`], nodePort: 30080 })
    .service(`udp ${DNS}:53`, { endpoints: [] })
    .service(`tcp ${DNS}:53`, { endpoints: [] });
  packet.before?.(n);
  n.out.length = 0;
  n.countersMoved();
  return n;
}

type Text = readonly [text: string, options?: Parameters<TestNode['receive']>[2]];

/** A packet written as text. */
function text(verdict: string, from: VerdictPacket['from'], [line, options]: Text, more: Partial<VerdictPacket> = {}) {
  return { verdict, from, send: (n: TestNode) => n.receive(from, line, options), ...more };
}

/** A frame of pod a with some bytes overwritten, or truncated. */
function bytes(
  verdict: string,
  from: VerdictPacket['from'],
  make: () => Uint8Array,
  more: Partial<VerdictPacket> = {},
) {
  return { verdict, from, send: (n: TestNode) => n.receiveBytes(from, make()), ...more };
}

const TCP = `tcp ${A}:4000 > ${B}:80 S`;
const TO_GATEWAY = { dstMac: HOST_MACS.dstMac };

/** TCP from pod a to pod b through the gateway, with bytes overwritten from `at` on. */
function patched(at: number, ...values: number[]): () => Uint8Array {
  return () => {
    const whole = frame(TCP, { srcMac: MAC_A, ...TO_GATEWAY });
    whole.set(values, at);
    return whole;
  };
}

/** A valid IPv4 packet from pod a with an arbitrary transport header. */
function transport(protocol: number, header: number[], options: FrameOptions = {}): () => Uint8Array {
  return () =>
    concat(ETHERNET.a, ipPacket(addressWords(A), addressWords(B), protocol, Uint8Array.from(header), -1, options));
}

const zeros = (count: number): number[] => new Array(count).fill(0);
const vxlan = (inner: string, outer = `172.18.0.12:50000 > ${NODE}:4789 vni 1`): string => `vxlan ${outer} (${inner})`;
const ipip = (inner: string, outer = `172.18.0.12 > ${NODE}`): string => `ipip ${outer} (${inner})`;
const INNER = `udp ${FAR}:53 > ${A}:4000 len 8`;
const DECLARED = { portPolicy: 'declared' } as const;
const IPIP = { overlay: 'ipip', podMtu: 1480 } as const;
const HOST_GW = { overlay: 'host-gw', podMtu: 1500 } as const;

/** A VXLAN frame from the underlay with bytes overwritten. */
function patchedVxlan(at: number, ...values: number[]): () => Uint8Array {
  return () => {
    const whole = frame(vxlan(INNER), { ...TO_GATEWAY, outer: HOST_MACS });
    whole.set(values, at);
    return whole;
  };
}

/** An established connection from pod a to the service on pod b. */
function connected(n: TestNode): void {
  n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 S seq 1`);
  n.receive('b', `tcp ${B}:80 > ${A}:4000 SA seq 5 ack 2`, { dstMac: MAC_A });
  n.receive('a', `tcp ${A}:4000 > ${SERVICE}:80 A seq 2 ack 6`);
}

/** Established connections until no more is admitted. */
function fillConntrack(n: TestNode): void {
  for (let port = 10_000; port < 10_100; port++) {
    n.receive('a', `tcp ${A}:${port} > ${B}:80 S seq 1`, { dstMac: MAC_B });
    n.receive('b', `tcp ${B}:80 > ${A}:${port} SA seq 5 ack 2`, { dstMac: MAC_A });
    n.receive('a', `tcp ${A}:${port} > ${B}:80 A seq 2 ack 6`, { dstMac: MAC_B });
  }
}

const later = (id: number, offset: number, length: number, more = 'more'): string =>
  `udp ${A} > ${B} len ${length} frag id ${id} offset ${offset} ${more}`;

export const VERDICT_PACKETS: readonly VerdictPacket[] = [
  text('forwarded', 'a', [TCP]),
  text('to-host', 'a', [`udp ${A}:4000 > ${SERVER}:53 len 8`], { of: 'to the outside, translated' }),
  text('to-host', 'host', [`icmp ${SERVER} > ${NODE} echo-reply id 7 seq 1`], {
    of: "a reply to the node's own query",
  }),
  text('own-ping', 'host', [`icmp ${NODE} > ${SERVER} echo-request id 7 seq 1 len 8`]),
  text('encapsulated', 'a', [`udp ${A}:4000 > ${FAR}:53 len 8`]),
  text('arp-answered', 'a', [`arp who-has ${GATEWAY} tell ${A}`]),
  text('ping-answered', 'a', [`icmp ${A} > ${GATEWAY} echo-request id 7 seq 1 len 8`], { of: 'the gateway' }),
  text('ping-answered', 'a', [`icmp ${A} > ${SERVICE} echo-request id 7 seq 1 len 8`], { of: 'a service' }),
  text('rejected-tcp-reset', 'a', [`tcp ${A}:4000 > ${DNS}:53 S`]),
  text('rejected-port-unreachable', 'a', [`udp ${A}:4000 > ${DNS}:53 len 8`]),
  text('rejected-prohibited', 'b', [`tcp ${B}:5000 > ${SERVER}:80 S`], {
    node: { masqueradePorts: [40000, 40000] },
    before: (n) => {
      n.receive('a', `tcp ${A}:5000 > ${SERVER}:80 S seq 1`);
      n.receive('host', `tcp ${SERVER}:80 > ${NODE}:40000 SA seq 5 ack 2`);
      n.receive('a', `tcp ${A}:5000 > ${SERVER}:80 A seq 2 ack 6`);
    },
  }),
  text('ttl-exceeded', 'a', [`udp ${A}:4000 > ${FAR}:33434 len 8`, { ttl: 1 }]),
  text('fragmentation-needed', 'a', [`udp ${A}:4000 > ${FAR}:53 len 1432`, { df: true }]),
  text('no-route-answered', 'a', [`udp ${A}:4000 > 10.244.9.9:53 len 8`]),
  text('fragment-held', 'a', [later(1, 8, 8)]),
  {
    verdict: 'fragment-first-missing',
    from: 'a',
    send: (n) => {
      n.receive('a', later(1, 8, 8));
      n.advance(31_000);
      return verdictTotal(n.counters, Verdict.FRAGMENT_FIRST_MISSING) === 1 ? 'fragment-first-missing' : 'not counted';
    },
  },
  bytes('frame-truncated', 'a', () => new Uint8Array(13)),
  text('source-mac-invalid', 'a', [TCP, { srcMac: '01:00:5e:00:00:01' }]),
  text('destination-mac-foreign', 'a', [TCP, { dstMac: '0a:58:0a:f4:01:99' }]),
  bytes('ethertype-unknown', 'a', patched(12, 0x88, 0xcc)),
  text('vlan-tagged', 'a', [TCP, { vlan: 5 }]),
  bytes('arp-malformed', 'a', () => frame(`arp who-has ${GATEWAY} tell ${A}`).subarray(0, 40)),
  text('arp-unknown-target', 'a', [`arp who-has 10.244.1.99 tell ${A}`]),
  text('arp-reply-ignored', 'a', [`arp ${A} is-at ${MAC_A}`]),
  text('arp-spoofed', 'a', [`arp who-has ${GATEWAY} tell ${B}`, { srcMac: MAC_A }]),
  bytes('ipv4-truncated', 'a', () => frame(TCP).subarray(0, 14 + 19)),
  bytes('ipv4-version', 'a', patched(14, 0x65)),
  bytes('ipv4-header-length', 'a', patched(14, 0x44)),
  bytes('ipv4-total-length', 'a', patched(16, 0xff, 0xff)),
  bytes('ipv4-checksum', 'a', patched(24, 0, 0)),
  text('ipv4-martian-source', 'host', [`udp 240.0.0.1:1 > ${A}:53 len 8`]),
  text('ipv4-martian-destination', 'a', [`udp ${A}:1 > 240.0.0.1:53 len 8`]),
  text('ipv4-source-route', 'a', [TCP, { ipOptions: Uint8Array.of(131, 3, 4, 0) }]),
  bytes('ipv6-not-forwarded', 'a', () => frame('udp [fd00::2]:53 > [fd00::3]:53 len 8')),
  text('spoofed-source-ip', 'a', [`tcp ${B}:4000 > ${FAR}:80 S`, { srcMac: MAC_A }], { of: "another pod's" }),
  text('spoofed-source-ip', 'host', [`udp ${FAR}:1 > ${A}:2 len 8`], { of: "a pod's, from outside" }),
  text('spoofed-source-mac', 'a', [TCP, { srcMac: MAC_B }]),
  text('multicast', 'a', [`udp ${A}:5353 > 224.0.0.251:5353 len 8`]),
  bytes('tcp-truncated', 'a', transport(6, zeros(19))),
  bytes('tcp-header-length', 'a', transport(6, [...zeros(12), 0xf0, ...zeros(7)])),
  bytes('udp-truncated', 'a', transport(17, zeros(7))),
  bytes('udp-length', 'a', transport(17, zeros(8))),
  bytes('icmp-truncated', 'a', transport(1, zeros(7))),
  bytes('sctp-truncated', 'a', transport(132, zeros(11))),
  text('port-zero', 'a', [`tcp ${A}:0 > ${B}:80 S`]),
  text('fragment-overlap', 'a', [later(1, 24, 24)], {
    before: (n) => {
      n.receive('a', `udp ${A}:1 > ${B}:2 len 0 frag id 1 offset 0 more`, { dstMac: MAC_B });
      n.receive('a', later(1, 8, 24), { dstMac: MAC_B });
    },
  }),
  text('fragment-duplicate', 'a', [later(1, 8, 24)], { before: (n) => n.receive('a', later(1, 8, 24)) }),
  bytes('fragment-tiny', 'a', transport(6, zeros(8), { moreFragments: true })),
  text('fragment-length', 'a', [later(1, 8, 12)]),
  text('fragment-too-long', 'a', [later(1, 65528, 64, '')]),
  text('fragment-table-full', 'a', [later(1, 64 * 16, 8)], {
    before: (n) => {
      n.receive('a', `udp ${A}:1 > ${B}:2 len 0 frag id 1 offset 0 more`, { dstMac: MAC_B });
      for (let piece = 1; piece < 64; piece++) n.receive('a', later(1, piece * 16, 8), { dstMac: MAC_B });
    },
  }),
  text('vxlan-truncated', 'host', [`udp 172.18.0.12:50000 > ${NODE}:4789 len 10`]),
  text('vxlan-flags', 'host', [`udp 172.18.0.12:50000 > ${NODE}:4789 len 60`]),
  text('vxlan-vni', 'host', [vxlan(INNER, `172.18.0.12:50000 > ${NODE}:4789 vni 2`)]),
  text('vxlan-unknown-peer', 'host', [vxlan(INNER, `172.18.0.99:50000 > ${NODE}:4789 vni 1`)]),
  text('vxlan-inner-source', 'host', [vxlan(`udp 10.244.3.2:53 > ${A}:4000 len 8`)]),
  bytes('vxlan-inner-frame', 'host', patchedVxlan(14 + 20 + 8 + 8, 0x0a, 0x58, 0x0a, 0xf4, 0x02, 0x01), {
    of: 'for another VTEP',
  }),
  bytes('vxlan-inner-frame', 'host', patchedVxlan(14 + 20 + 8 + 8 + 12, 0x08, 0x06), { of: 'ARP' }),
  bytes('vxlan-checksum', 'host', patchedVxlan(14 + 20 + 6, 0x12, 0x34)),
  text('ecn-not-capable', 'host', [vxlan(INNER), { outer: { service: 3 } }]),
  text('ipip-unknown-peer', 'host', [ipip(INNER, `172.18.0.99 > ${NODE}`)], { node: IPIP }),
  text('ipip-inner-source', 'host', [ipip(`udp 10.244.3.2:53 > ${A}:4000 len 8`)], { node: IPIP }),
  text('overlay-from-pod', 'a', [`udp ${A}:50000 > 172.18.0.12:4789 len 60`]),
  text('conntrack-invalid', 'a', [`icmp ${A} > ${B} echo-reply id 7 seq 1`]),
  text('bandwidth-exceeded', 'a', [TCP, { dstMac: MAC_B }], {
    before: (n) => {
      setBandwidth(n.node, n.portOf('a'), Toward.NETWORK, 1);
      for (let i = 0; i < 200; i++) n.receive('a', `udp ${A}:5000 > ${B}:53 len 1400`, { dstMac: MAC_B });
    },
  }),
  text('connection-rate', 'a', [TCP, { dstMac: MAC_B }], {
    before: (n) => {
      setBudget(n.node, n.portOf('a'), Budget.CONNECTIONS, 1);
      n.receive('a', `udp ${A}:5000 > ${B}:53 len 8`, { dstMac: MAC_B });
    },
  }),
  text('conntrack-share', 'a', [TCP, { dstMac: MAC_B }], { node: { maxConntrack: 16 }, before: fillConntrack }),
  text('conntrack-full', 'a', [TCP, { dstMac: MAC_B }], {
    node: { maxConntrack: 16 },
    // As if other pods held all of it.
    before: (n) => {
      while (allocateRecord(n.conntrack, 0, n.nowMs) >= 0);
    },
  }),
  text('icmp-error-unrelated', 'b', [`icmp ${B} > ${A} unreachable port (udp ${A}:1 > ${B}:2 len 8)`]),
  text('icmp-error-not-sent', 'a', [`icmp ${A} > ${B} unreachable port (udp ${B}:2 > ${A}:1 len 8)`], {
    before: (n) => n.receive('a', `udp ${A}:1 > ${B}:2 len 8`),
  }),
  text('icmp-error-malformed', 'b', [
    `icmp ${B} > ${A} unreachable port (udp ${A}:1 > ${B}:2 len 8)`,
    { quotedBytes: 19 },
  ]),
  text('icmp-redirect', 'b', [`icmp ${B} > ${A} redirect (udp ${A}:1 > ${B}:2 len 8)`]),
  text('no-such-service', 'a', [`tcp ${A}:4000 > 10.96.0.99:80 S`]),
  text('icmp-to-service', 'a', [`icmp ${A} > ${SERVICE} timestamp-request id 7 seq 1 len 12`]),
  text('source-range', 'host', [`tcp ${SERVER}:5000 > ${LOAD_BALANCER}:80 S`], {
    before: (n) =>
      n.service('tcp 10.96.0.30:80', {
        endpoints: [`${B}:80`],
        loadBalancerIP: LOAD_BALANCER,
        sourceRanges: ['198.51.100.0/24'],
      }),
  }),
  text('local-policy-drop', 'a', [`tcp ${A}:4000 > 10.96.0.30:80 S`], {
    node: { localPolicyDrops: true },
    before: (n) => n.service('tcp 10.96.0.30:80', { endpoints: [`${FAR}:80`], internalLocal: true }),
  }),
  text('policy-egress', 'a', [`tcp ${A}:4000 > ${B}:81 S`, { dstMac: MAC_B }], {
    before: (n) => setPolicies(n, [policyPod(A), policyPod(B)], [{ policyTypes: ['Egress'] }]),
  }),
  text('policy-ingress', 'a', [`tcp ${A}:4000 > ${B}:81 S`, { dstMac: MAC_B }], {
    before: (n) => setPolicies(n, [policyPod(A), policyPod(B)], [{ policyTypes: ['Ingress'] }]),
  }),
  text('port-not-declared', 'a', [`tcp ${A}:4000 > ${B}:81 S`, { dstMac: MAC_B }], { node: DECLARED, of: 'TCP' }),
  text('port-not-declared', 'a', [`udp ${A}:4000 > ${B}:81 len 8`, { dstMac: MAC_B }], { node: DECLARED, of: 'UDP' }),
  text('port-not-declared', 'a', [`sctp ${A}:4000 > ${B}:81 len 8`, { dstMac: MAC_B }], { node: DECLARED, of: 'SCTP' }),
  // The agent removes a pod's route before its hop; a worker may have read the route before that.
  text('port-down', 'a', [TCP], { before: (n) => clearHop(n.node, n.portOf('b')) }),
  text('from-unknown-port', 'a', [TCP], { before: (n) => clearHop(n.node, n.portOf('a')) }),
  text('not-for-us', 'host', [`udp ${SERVER}:4000 > 8.8.8.8:53 len 8`]),
  text('no-route-back', 'host', [`udp 10.96.0.77:4000 > ${B}:53 len 8`]),
  text('endpoint-gone', 'a', [`tcp ${A}:4000 > ${SERVICE}:80 PA seq 2 ack 6 len 10`], {
    before: (n) => {
      connected(n);
      n.sync.removePod('b');
    },
  }),
  text('offload-invalid', 'a', [`udp ${A}:1 > ${B}:53 len 8 frag id 1 offset 0 more`, { partial: true, gsoSize: 100 }]),
  text('link-local-destination', 'a', [`tcp ${A}:4000 > 169.254.169.254:80 S`]),
  text('dhcp-from-pod', 'a', [`udp ${A}:67 > ${B}:68 len 300`]),
  text('loopback-from-network', 'host', [`tcp ${SERVER}:5000 > 127.0.0.1:80 S`]),
  text('routed-to-node', 'a', [`udp ${A}:4000 > ${FAR}:53 len 8`], { node: HOST_GW }),
  text('ping-fragmented', 'a', [`icmp ${A} > ${GATEWAY} echo-request id 7 seq 1 len 64 frag id 1 offset 0 more`]),
];
