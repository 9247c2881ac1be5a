/**
 * Every way a packet ends, one row each. A row defines everything about a verdict: its number, its texts, and the reply
 * that the sender gets. Counters, `dataplane status`, docs/drops.md and the pipeline's `settle` use these rows. To add
 * a verdict, append a row and return the verdict from the stage that decides it.
 *
 * A number is the index of a counter in shared memory, which outlives the agent that wrote it. Numbers are stable:
 * never renumber or reuse one; append new verdicts, and list in RETIRED what is no longer returned.
 *
 * Replies follow RFC 1812 §4.3.2.7 and §4.3.2.8: some packets never get one, and their rate is limited
 * (stages/answer.ts). `unanswered` names the verdict to count when policy forbids the reply. test/unit/verdicts.test.ts
 * sends a packet for every row and compares the reply with it.
 */
import { IcmpError } from './wire/icmp-error.ts';

/**
 * What happened to the packet.
 * - go-on: undecided; the next stage continues. Never counted.
 * - forwarded: sent to a pod or to another node. delivered: handed to this node's kernel.
 * - answered: the packet ends here and its sender gets the row's reply.
 * - noted: a copy of a packet that takes another way. It ends here.
 * - held: a copy waits for another packet. Never counted; the copy is counted when it is released or given up.
 * - dropped: the packet ends here and its sender gets no reply.
 * - lost: counted in addition to the packet's verdict, if a device did not accept the frame that the pipeline sent, or if the
 *   packet was a ping to the outside that was not answered.
 */
export type VerdictClass = 'go-on' | 'forwarded' | 'delivered' | 'answered' | 'noted' | 'held' | 'dropped' | 'lost';

export const ReplyKind = {
  NONE: 0,
  ARP_REPLY: 1,
  ECHO_REPLY: 2,
  TCP_RESET: 3,
  ICMP_ERROR: 4,
  /** As if the destination's port were closed: a reset for TCP, the ICMP error for other protocols. */
  AS_CLOSED_PORT: 5,
} as const;
export type ReplyKind = (typeof ReplyKind)[keyof typeof ReplyKind];

/** The reply to an answered packet's sender. */
export interface Reply {
  readonly kind: ReplyKind;
  /** Kind of the ICMP error; unused for other kinds of reply. */
  readonly error: IcmpError;
}

/** Everything about a verdict except its number. */
export interface VerdictRow {
  /** Stable kebab-case name: counters, JSON, command line. */
  readonly name: string;
  readonly class: VerdictClass;
  /** What happened, in one sentence. */
  readonly sentence: string;
  /** The standard or source file that the rule comes from. */
  readonly source: string;
  /** What to do if the counter rises. */
  readonly advice: string;
  /** The reply to the sender; only for the class `answered`. */
  readonly reply?: Reply;
  /** Name of the verdict to count when policy forbids the reply. */
  readonly unanswered?: string;
}

/** Size of the block of counters in shared memory: every number is below it. */
export const MAX_VERDICTS = 128;

/** Numbers that were once in use and must not be reused, each with the reason. Numbers 13 to 15 were never used. */
export const RETIRED: Readonly<Record<number, string>> = {
  39: 'tcp-flags: flags that no stack sends are conntrack-invalid',
  43: 'a wrong transport checksum: left to the receiver, which has to verify it anyway',
  49: 'fragment-timeout: now fragment-first-missing, which counts frames and not datagrams',
  60: 'an ICMP query that looked like a reply',
  75: 'segmentation-failed: a super-packet that cannot be cut is offload-invalid, before it changes anything',
};

const rows: (VerdictRow | undefined)[] = new Array(MAX_VERDICTS).fill(undefined);

/**
 * Enter a row under its number.
 * @throws Error if the number is taken, retired or too large; only when the module loads
 */
function row<const N extends number>(number: N, contents: VerdictRow): N {
  if (rows[number] !== undefined || RETIRED[number] !== undefined || number >= MAX_VERDICTS) {
    throw new Error(`verdict ${number} (${contents.name}): the number is taken, retired or not below ${MAX_VERDICTS}`);
  }
  rows[number] = contents;
  return number;
}

const NO_ERROR: IcmpError = IcmpError.PORT_UNREACHABLE;
const ARP_REPLY: Reply = { kind: ReplyKind.ARP_REPLY, error: NO_ERROR };
const ECHO_REPLY: Reply = { kind: ReplyKind.ECHO_REPLY, error: NO_ERROR };
const TCP_RESET: Reply = { kind: ReplyKind.TCP_RESET, error: NO_ERROR };
const AS_CLOSED_PORT: Reply = { kind: ReplyKind.AS_CLOSED_PORT, error: IcmpError.PORT_UNREACHABLE };
const icmpError = (error: IcmpError): Reply => ({ kind: ReplyKind.ICMP_ERROR, error });

const NORMAL = 'Nothing: normal traffic.';
const MALFORMED = 'The sender is broken or hostile. Capture at the pod it comes from; other traffic is not affected.';
const FORGED =
  'A pod forges addresses or has changed its own. The receiving device identifies it; other traffic is not affected.';
const DAMAGED =
  'Packets are damaged in transit. Look for a faulty device or a tunnel that rewrites packets; capture on both sides.';
const SCAN = 'Harmless in small numbers; many of them are a scan or a test tool.';
const FORBIDDEN =
  'Replies are limited to 1000 a second and sender, and later fragments, ICMP errors and TCP resets never get one.';

/**
 * The number of each verdict, by name. The type at the end of a row repeats its number, because declarations are
 * emitted without inference; the compiler rejects one that differs. Verdict is a plain object, so that V8 treats
 * `Verdict.X` as a constant.
 */
export const Verdict = {
  GO_ON: row(0, {
    name: 'go-on',
    class: 'go-on',
    sentence: 'Not finished: the next stage decides.',
    source: 'pipeline.ts',
    advice: 'Never counted.',
  }) as 0,
  SENT: row(1, {
    name: 'forwarded',
    class: 'forwarded',
    sentence: 'Sent to a pod of this node.',
    source: 'RFC 1812 §5',
    advice: NORMAL,
  }) as 1,
  TO_HOST: row(2, {
    name: 'to-host',
    class: 'delivered',
    sentence: "Handed to the node's kernel: for the node itself, or for an address outside the cluster.",
    source: 'RFC 1812 §5.2.3',
    advice: NORMAL,
  }) as 2,
  ENCAPSULATED: row(3, {
    name: 'encapsulated',
    class: 'forwarded',
    sentence: 'Sent over the overlay to another node.',
    source: 'RFC 7348 §4.1, RFC 2003 §3',
    advice: NORMAL,
  }) as 3,
  ARP_ANSWERED: row(4, {
    name: 'arp-answered',
    class: 'answered',
    reply: ARP_REPLY,
    sentence: 'An ARP request for the gateway or a pod of this node.',
    source: 'RFC 826',
    advice: NORMAL,
  }) as 4,
  PING_ANSWERED: row(5, {
    name: 'ping-answered',
    class: 'answered',
    reply: ECHO_REPLY,
    unanswered: 'ping-fragmented',
    sentence: 'An echo request to the gateway or to a service address.',
    source: 'RFC 792, kubernetes #47156',
    advice: NORMAL,
  }) as 5,
  REJECTED_TCP_RESET: row(6, {
    name: 'rejected-tcp-reset',
    class: 'answered',
    reply: TCP_RESET,
    unanswered: 'no-endpoint-silent',
    sentence: 'A TCP segment to a service address whose port has no endpoint.',
    source: 'RFC 9293 §3.10.7.1, kubernetes pkg/proxy (REJECT)',
    advice:
      'The service has no ready endpoint, or no such port: `dataplane describe service NAME`, then the readiness of its pods.',
  }) as 6,
  REJECTED_PORT_UNREACHABLE: row(7, {
    name: 'rejected-port-unreachable',
    class: 'answered',
    reply: icmpError(IcmpError.PORT_UNREACHABLE),
    unanswered: 'no-endpoint-silent',
    sentence: 'A packet other than TCP to a service address whose port has no endpoint.',
    source: 'RFC 792, kubernetes pkg/proxy (REJECT)',
    advice: 'As rejected-tcp-reset: look at the endpoints of the service and the readiness of its pods.',
  }) as 7,
  REJECTED_PROHIBITED: row(8, {
    name: 'rejected-prohibited',
    class: 'answered',
    reply: icmpError(IcmpError.PROHIBITED),
    unanswered: 'snat-exhausted',
    sentence: 'A new connection for which no translated source port is free.',
    source: 'RFC 5508 REQ-8',
    advice: 'All masquerade ports are in use toward one destination: spread over nodes or destinations.',
  }) as 8,
  TTL_EXCEEDED: row(9, {
    name: 'ttl-exceeded',
    class: 'answered',
    reply: icmpError(IcmpError.TTL_EXCEEDED),
    unanswered: 'ttl-exceeded-silent',
    sentence: 'The TTL expired at this node.',
    source: 'RFC 1812 §5.3.1',
    advice: 'Traceroute does this on purpose. Otherwise a routing loop: compare the routes of the two nodes.',
  }) as 9,
  FRAGMENTATION_NEEDED: row(10, {
    name: 'fragmentation-needed',
    class: 'answered',
    reply: icmpError(IcmpError.TOO_BIG),
    unanswered: 'too-big-silent',
    sentence: 'Larger than the MTU of the next hop, and must not be fragmented (DF, or a super-packet).',
    source: 'RFC 1191 §4',
    advice: 'Path MTU discovery at work. If a connection hangs, something in between drops ICMP: allow type 3 code 4.',
  }) as 10,
  NO_ROUTE_ANSWERED: row(11, {
    name: 'no-route-answered',
    class: 'answered',
    reply: icmpError(IcmpError.HOST_UNREACHABLE),
    unanswered: 'no-route',
    sentence: 'No route to the destination.',
    source: 'RFC 1812 §5.2.7.1',
    advice:
      'An address of the pod network that no pod has: a client keeps the address of a deleted pod, or a node is missing.',
  }) as 11,
  FRAGMENT_HELD: row(12, {
    name: 'fragment-held',
    class: 'held',
    sentence: 'A later fragment that arrived before the first of its datagram; it is sent once the first has come.',
    source: 'RFC 791, RFC 4787 REQ-14',
    advice: 'Never counted: it ends as its first fragment does, or in fragment-first-missing.',
  }) as 12,
  FRAME_TRUNCATED: row(16, {
    name: 'frame-truncated',
    class: 'dropped',
    sentence: 'Shorter than an Ethernet header.',
    source: 'IEEE 802.3',
    advice: MALFORMED,
  }) as 16,
  SOURCE_MAC_INVALID: row(17, {
    name: 'source-mac-invalid',
    class: 'dropped',
    sentence: 'The Ethernet source is a group address.',
    source: 'IEEE 802.3 §3.2.3',
    advice: MALFORMED,
  }) as 17,
  DESTINATION_MAC_FOREIGN: row(18, {
    name: 'destination-mac-foreign',
    class: 'dropped',
    sentence: "The Ethernet destination is neither the gateway's nor that of the pod with the IP destination.",
    source: 'RFC 1812 §5.3.4',
    advice: 'A stale neighbour entry in the pod: `ip neigh flush dev eth0` there.',
  }) as 18,
  ETHERTYPE_UNKNOWN: row(19, {
    name: 'ethertype-unknown',
    class: 'dropped',
    sentence: 'Neither IPv4, IPv6 nor ARP.',
    source: 'IEEE 802 numbers',
    advice: 'LLDP, STP and the like: harmless. Otherwise a protocol that Kubernetes networks do not carry.',
  }) as 19,
  VLAN_TAGGED: row(20, {
    name: 'vlan-tagged',
    class: 'dropped',
    sentence: 'A VLAN tag: pods and the overlay carry none.',
    source: 'RFC 7348 §6.1',
    advice: 'A VLAN device inside a pod: pods have one untagged network.',
  }) as 20,
  ARP_MALFORMED: row(21, {
    name: 'arp-malformed',
    class: 'dropped',
    sentence: 'A truncated ARP packet, or one for other than Ethernet and IPv4.',
    source: 'RFC 826',
    advice: MALFORMED,
  }) as 21,
  ARP_UNKNOWN_TARGET: row(22, {
    name: 'arp-unknown-target',
    class: 'dropped',
    sentence:
      'An ARP request that is not answered: no other pod of this node has the address, or the node itself sent it.',
    source: 'RFC 826',
    advice: 'A pod looks for a deleted neighbour or announces its own address: harmless.',
  }) as 22,
  ARP_REPLY_IGNORED: row(23, {
    name: 'arp-reply-ignored',
    class: 'dropped',
    sentence: 'An ARP reply: address bindings come from the cluster state, never from the network.',
    source: 'RFC 5227 §2.4',
    advice: 'Gratuitous ARP from a pod: harmless, and without effect. Virtual addresses in pods do not work.',
  }) as 23,
  ARP_SPOOFED: row(24, {
    name: 'arp-spoofed',
    class: 'dropped',
    sentence: 'An ARP packet whose sender address is not that of the pod that sent it.',
    source: 'RFC 5227, CNI macspoofchk',
    advice: FORGED,
  }) as 24,
  IPV4_TRUNCATED: row(25, {
    name: 'ipv4-truncated',
    class: 'dropped',
    sentence: 'The frame ends inside the IPv4 header.',
    source: 'RFC 1812 §5.2.2',
    advice: MALFORMED,
  }) as 25,
  IPV4_VERSION: row(26, {
    name: 'ipv4-version',
    class: 'dropped',
    sentence: 'EtherType IPv4, but the version field is not 4.',
    source: 'RFC 1812 §5.2.2',
    advice: MALFORMED,
  }) as 26,
  IPV4_HEADER_LENGTH: row(27, {
    name: 'ipv4-header-length',
    class: 'dropped',
    sentence: 'The header length field is below 5 words or beyond the packet.',
    source: 'RFC 1812 §5.2.2',
    advice: MALFORMED,
  }) as 27,
  IPV4_TOTAL_LENGTH: row(28, {
    name: 'ipv4-total-length',
    class: 'dropped',
    sentence: 'The total length is below the header or beyond the frame.',
    source: 'RFC 1812 §5.2.2',
    advice: MALFORMED,
  }) as 28,
  IPV4_CHECKSUM: row(29, {
    name: 'ipv4-checksum',
    class: 'dropped',
    sentence: 'The IPv4 header checksum is wrong.',
    source: 'RFC 1812 §5.2.2',
    advice: DAMAGED,
  }) as 29,
  IPV4_MARTIAN_SOURCE: row(30, {
    name: 'ipv4-martian-source',
    class: 'dropped',
    sentence: 'A source address that no host may use on a network.',
    source: 'RFC 1812 §5.3.7',
    advice: FORGED,
  }) as 30,
  IPV4_MARTIAN_DESTINATION: row(31, {
    name: 'ipv4-martian-destination',
    class: 'dropped',
    sentence: 'A destination address that must not be forwarded.',
    source: 'RFC 1812 §5.3.7',
    advice: MALFORMED,
  }) as 31,
  IPV4_SOURCE_ROUTE: row(32, {
    name: 'ipv4-source-route',
    class: 'dropped',
    sentence: 'A source-route option.',
    source: 'RFC 7126 §4.3',
    advice: 'Nothing needs source routes: turn them off at the sender.',
  }) as 32,
  IPV6_NOT_FORWARDED: row(33, {
    name: 'ipv6-not-forwarded',
    class: 'dropped',
    sentence: 'IPv6 is not forwarded yet.',
    source: 'docs/semantics.md',
    advice: 'Mostly unsolicited neighbour discovery of pods: harmless. Applications must use IPv4 in this cluster.',
  }) as 33,
  SPOOFED_SOURCE_IP: row(34, {
    name: 'spoofed-source-ip',
    class: 'dropped',
    sentence: 'The source is not the address of the sending pod, or it is a pod address on a packet no pod sent.',
    source: 'RFC 2827',
    advice: FORGED,
  }) as 34,
  SPOOFED_SOURCE_MAC: row(35, {
    name: 'spoofed-source-mac',
    class: 'dropped',
    sentence: 'The Ethernet source is not the MAC of the pod that sent the frame.',
    source: 'CNI macspoofchk',
    advice: FORGED,
  }) as 35,
  MULTICAST: row(36, {
    name: 'multicast',
    class: 'dropped',
    sentence: 'Multicast or broadcast: not forwarded.',
    source: 'RFC 1812 §5.3.4',
    advice:
      'mDNS, DHCP and discovery protocols of pods: harmless. An application that needs multicast cannot run here.',
  }) as 36,
  TCP_TRUNCATED: row(37, {
    name: 'tcp-truncated',
    class: 'dropped',
    sentence: 'The packet ends inside the TCP header.',
    source: 'RFC 9293 §3.1',
    advice: MALFORMED,
  }) as 37,
  TCP_HEADER_LENGTH: row(38, {
    name: 'tcp-header-length',
    class: 'dropped',
    sentence: 'The TCP data offset is below 5 words or beyond the packet.',
    source: 'RFC 9293 §3.1',
    advice: MALFORMED,
  }) as 38,
  UDP_TRUNCATED: row(40, {
    name: 'udp-truncated',
    class: 'dropped',
    sentence: 'The packet ends inside the UDP header.',
    source: 'RFC 768',
    advice: MALFORMED,
  }) as 40,
  UDP_LENGTH: row(41, {
    name: 'udp-length',
    class: 'dropped',
    sentence: 'The UDP length is below 8 or beyond the packet.',
    source: 'RFC 768',
    advice: MALFORMED,
  }) as 41,
  ICMP_TRUNCATED: row(42, {
    name: 'icmp-truncated',
    class: 'dropped',
    sentence: 'The packet ends inside the ICMP header.',
    source: 'RFC 792',
    advice: MALFORMED,
  }) as 42,
  PORT_ZERO: row(44, {
    name: 'port-zero',
    class: 'dropped',
    sentence: 'A TCP port or UDP destination port of 0.',
    source: 'RFC 6335 §6',
    advice: SCAN,
  }) as 44,
  FRAGMENT_OVERLAP: row(45, {
    name: 'fragment-overlap',
    class: 'dropped',
    sentence: 'Fragments of one datagram overlap: the whole datagram is dropped.',
    source: 'RFC 5722 §4, linux ip_fragment.c',
    advice: 'An attack on reassembly, or a broken sender. Every current stack drops the datagram.',
  }) as 45,
  FRAGMENT_TINY: row(46, {
    name: 'fragment-tiny',
    class: 'dropped',
    sentence: 'A first fragment too short to hold the transport header, or a TCP fragment at offset 8.',
    source: 'RFC 1858, RFC 3128',
    advice: 'An attempt to hide ports from filters: find the sender.',
  }) as 46,
  FRAGMENT_TOO_LONG: row(47, {
    name: 'fragment-too-long',
    class: 'dropped',
    sentence: 'A fragment that ends beyond 65535 bytes.',
    source: 'RFC 791',
    advice: 'An attack on reassembly (ping of death): find the sender.',
  }) as 47,
  FRAGMENT_TABLE_FULL: row(48, {
    name: 'fragment-table-full',
    class: 'dropped',
    sentence:
      'A limit of the fragment table: no room to hold the fragment, or over 64 separate pieces of its datagram.',
    source: 'CVE-2018-5391',
    advice: 'A flood of fragments, or large UDP over a lossy network: use smaller datagrams or TCP.',
  }) as 48,
  VXLAN_TRUNCATED: row(50, {
    name: 'vxlan-truncated',
    class: 'dropped',
    sentence: 'Too short for a VXLAN header and an inner frame.',
    source: 'RFC 7348 §5',
    advice: DAMAGED,
  }) as 50,
  VXLAN_FLAGS: row(51, {
    name: 'vxlan-flags',
    class: 'dropped',
    sentence: 'The VNI flag is missing or a reserved bit is set.',
    source: 'RFC 7348 §5, linux vxlan_rcv',
    advice: 'Another VXLAN variant (GPE, GBP) on the same port: choose another with `dataplane up --vxlan-port`.',
  }) as 51,
  VXLAN_VNI: row(52, {
    name: 'vxlan-vni',
    class: 'dropped',
    sentence: 'The network identifier (VNI) is not that of this cluster.',
    source: 'RFC 7348 §4.2',
    advice: 'Another overlay on the same port: choose another with `dataplane up --vxlan-port`.',
  }) as 52,
  VXLAN_UNKNOWN_PEER: row(53, {
    name: 'vxlan-unknown-peer',
    class: 'dropped',
    sentence: 'The outer source of a VXLAN packet is not a node of the cluster.',
    source: 'RFC 7348 §7',
    advice:
      'A node that has just joined (settles within seconds), or a host outside the cluster: `dataplane get nodes -o wide`.',
  }) as 53,
  VXLAN_INNER_SOURCE: row(54, {
    name: 'vxlan-inner-source',
    class: 'dropped',
    sentence: 'The inner source of a VXLAN packet does not belong to the node that sent it.',
    source: 'RFC 7348 §7',
    advice:
      'Two nodes claim one pod network, or a node forges sources: compare their networks with `dataplane status`.',
  }) as 54,
  VXLAN_INNER_FRAME: row(55, {
    name: 'vxlan-inner-frame',
    class: 'dropped',
    sentence: "The inner frame is ARP, or was not sent to this node's VTEP.",
    source: 'RFC 7348 §4.1',
    advice: 'A node sends frames to the VTEP of a node that was replaced: settles within seconds.',
  }) as 55,
  VXLAN_CHECKSUM: row(56, {
    name: 'vxlan-checksum',
    class: 'dropped',
    sentence: 'The outer UDP checksum is neither zero nor right.',
    source: 'RFC 7348 §5',
    advice: DAMAGED,
  }) as 56,
  OVERLAY_FROM_POD: row(57, {
    name: 'overlay-from-pod',
    class: 'dropped',
    sentence: 'Tunnel traffic from a pod to an address outside the pod network.',
    source: 'CVE-2020-10136, calico felix #2063',
    advice: 'A pod tries to act as a node. Tunnels between pods are allowed; tunnels to nodes are not.',
  }) as 57,
  CONNTRACK_INVALID: row(58, {
    name: 'conntrack-invalid',
    class: 'dropped',
    sentence: 'The packet neither fits the state of its connection nor may begin a new one.',
    source: 'kubernetes #74839, linux nf_conntrack',
    advice:
      'A few after a restart are normal (connections were lost). Many: traffic that passes this node in one direction only, or a scan.',
  }) as 58,
  CONNTRACK_FULL: row(59, {
    name: 'conntrack-full',
    class: 'dropped',
    sentence: 'The connection table is full and no entry may be evicted.',
    source: 'linux nf_conntrack_core.c',
    advice:
      'Enlarge the table, or find the pods with too many connections: `dataplane conntrack count`, then list by source.',
  }) as 59,
  SNAT_EXHAUSTED: row(61, {
    name: 'snat-exhausted',
    class: 'dropped',
    sentence: 'As rejected-prohibited, but no reply was permitted.',
    source: 'RFC 5508 REQ-8, RFC 1812 §4.3.2.7',
    advice: 'As rejected-prohibited.',
  }) as 61,
  ICMP_ERROR_UNRELATED: row(62, {
    name: 'icmp-error-unrelated',
    class: 'dropped',
    sentence: 'An ICMP error about an unknown connection, or sent to another host than the quoted sender.',
    source: 'RFC 5508 REQ-4',
    advice: 'Late errors about connections that ended: harmless. Many: forged errors.',
  }) as 62,
  ICMP_ERROR_MALFORMED: row(63, {
    name: 'icmp-error-malformed',
    class: 'dropped',
    sentence: 'An ICMP error whose quoted packet is unreadable or whose checksum is wrong.',
    source: 'RFC 5508 REQ-3',
    advice: MALFORMED,
  }) as 63,
  ICMP_REDIRECT: row(64, {
    name: 'icmp-redirect',
    class: 'dropped',
    sentence: 'An ICMP redirect.',
    source: 'linux nf_nat_core.c, CVE-2020-10749',
    advice: 'An attempt to change the route of a pod, which has one router only: find the sender.',
  }) as 64,
  NO_SUCH_SERVICE: row(65, {
    name: 'no-such-service',
    class: 'dropped',
    sentence: 'An address of the service network that no service has.',
    source: 'kubernetes pkg/proxy/nftables',
    advice: 'A client uses the address of a deleted service: `dataplane get services -A`.',
  }) as 65,
  SOURCE_RANGE: row(66, {
    name: 'source-range',
    class: 'dropped',
    sentence: 'The client is outside loadBalancerSourceRanges.',
    source: 'kubernetes pkg/proxy',
    advice: "Extend the service's loadBalancerSourceRanges if the client should be allowed.",
  }) as 66,
  LOCAL_POLICY_DROP: row(67, {
    name: 'local-policy-drop',
    class: 'dropped',
    sentence: 'A Local traffic policy without endpoint on this node, in a cluster configured to drop.',
    source: 'kubernetes pkg/proxy',
    advice: 'Send to a node that has an endpoint, or change the traffic policy to Cluster.',
  }) as 67,
  PORT_NOT_DECLARED: row(68, {
    name: 'port-not-declared',
    class: 'answered',
    reply: AS_CLOSED_PORT,
    unanswered: 'port-not-declared-silent',
    sentence: 'The pod does not declare this port and the port policy is "declared".',
    source: 'docs/semantics.md',
    advice:
      'Declare the port in the container (`ports: - containerPort: N`), or start the cluster with `--port-policy open`.',
  }) as 68,
  POLICY_EGRESS: row(97, {
    name: 'policy-egress',
    class: 'dropped',
    sentence: 'A NetworkPolicy isolates the sending pod, and no rule of it allows this destination and port.',
    source: 'networking/v1 NetworkPolicy spec.egress',
    advice:
      'See `dataplane policy explain FROM TO`, and allow it in a policy that selects the sender, if it is wanted.',
  }) as 97,
  POLICY_INGRESS: row(98, {
    name: 'policy-ingress',
    class: 'dropped',
    sentence: 'A NetworkPolicy isolates the receiving pod, and no rule of it allows this source and port.',
    source: 'networking/v1 NetworkPolicy spec.ingress',
    advice:
      'See `dataplane policy explain FROM TO`, and allow it in a policy that selects the receiver, if it is wanted.',
  }) as 98,
  NO_ROUTE: row(69, {
    name: 'no-route',
    class: 'dropped',
    sentence: 'As no-route-answered, but no reply was permitted.',
    source: 'RFC 1812 §5.2.7.1, §4.3.2.7',
    advice: FORBIDDEN,
  }) as 69,
  PORT_DOWN: row(70, {
    name: 'port-down',
    class: 'dropped',
    sentence: 'The pod or node that the packet should be sent to was removed.',
    source: 'docs/architecture.md',
    advice: 'The pod is starting or ending. If it lasts: `dataplane status`, then the log of the agent.',
  }) as 70,
  TTL_EXCEEDED_SILENT: row(71, {
    name: 'ttl-exceeded-silent',
    class: 'dropped',
    sentence: 'As ttl-exceeded, but no reply was permitted.',
    source: 'RFC 1812 §4.3.2.7',
    advice: FORBIDDEN,
  }) as 71,
  TOO_BIG_SILENT: row(72, {
    name: 'too-big-silent',
    class: 'dropped',
    sentence: 'As fragmentation-needed, but no reply was permitted.',
    source: 'RFC 1812 §4.3.2.7',
    advice: FORBIDDEN,
  }) as 72,
  WRITE_FAILED: row(73, {
    name: 'write-failed',
    class: 'lost',
    sentence: 'The kernel refused the frame.',
    source: 'linux drivers/net/tun.c',
    advice: 'A fault of dataplane: please report it with a capture.',
  }) as 73,
  WRITE_QUEUE_FULL: row(74, {
    name: 'write-queue-full',
    class: 'lost',
    sentence: "The device's queue is full.",
    source: 'linux drivers/net/tun.c',
    advice: 'The pod does not read fast enough: its CPU is busy. TCP slows down by itself; UDP loses datagrams.',
  }) as 74,
  NOT_FOR_US: row(76, {
    name: 'not-for-us',
    class: 'dropped',
    sentence: 'From the node, to an address that is neither a pod nor a service nor translated.',
    source: 'docs/architecture.md',
    advice: "Replies to connections that have ended, or a stray route to dp0: `ip route` in the node's namespace.",
  }) as 76,
  NO_ENDPOINT_SILENT: row(77, {
    name: 'no-endpoint-silent',
    class: 'dropped',
    sentence: 'As rejected-tcp-reset and rejected-port-unreachable, but no reply was permitted.',
    source: 'RFC 1812 §4.3.2.7',
    advice: FORBIDDEN,
  }) as 77,
  ENDPOINT_GONE: row(78, {
    name: 'endpoint-gone',
    class: 'answered',
    reply: TCP_RESET,
    unanswered: 'endpoint-gone-silent',
    sentence: 'The pod at the other end of an established TCP connection was removed.',
    source: 'docs/semantics.md',
    advice: 'A pod ended while connections were open. Expected with a restart or a rollout; clients reconnect.',
  }) as 78,
  OFFLOAD_INVALID: row(79, {
    name: 'offload-invalid',
    class: 'dropped',
    sentence: 'The virtio-net header does not fit its frame, or a merged packet that is not TCP cannot be cut again.',
    source: 'linux include/linux/virtio_net.h',
    advice:
      'A raw-socket sender with a wrong offload header. From an ordinary program a fault of dataplane: capture it.',
  }) as 79,
  LOOPBACK_FROM_NETWORK: row(80, {
    name: 'loopback-from-network',
    class: 'dropped',
    sentence: 'A loopback address on a packet that did not come from the node itself.',
    source: 'CVE-2020-8558',
    advice: 'An attempt to reach a service on 127.0.0.1 from elsewhere: find the sender.',
  }) as 80,
  FRAGMENT_DUPLICATE: row(81, {
    name: 'fragment-duplicate',
    class: 'dropped',
    sentence: 'A fragment that was received before; the rest of its datagram is not affected.',
    source: 'RFC 8200 §4.5, linux inet_fragment.c',
    advice: 'The underlay duplicates packets; harmless in small numbers.',
  }) as 81,
  IPIP_UNKNOWN_PEER: row(82, {
    name: 'ipip-unknown-peer',
    class: 'dropped',
    sentence: 'The outer source of an IPIP packet is not a node of the cluster.',
    source: 'RFC 2003 §6, CVE-2020-10136',
    advice: 'As vxlan-unknown-peer.',
  }) as 82,
  IPIP_INNER_SOURCE: row(83, {
    name: 'ipip-inner-source',
    class: 'dropped',
    sentence: 'The inner source of an IPIP packet does not belong to the node that sent it.',
    source: 'RFC 2003 §6, CVE-2020-10136',
    advice: 'As vxlan-inner-source.',
  }) as 83,
  ROUTED_TO_NODE: row(84, {
    name: 'routed-to-node',
    class: 'forwarded',
    sentence: "Sent to another node by the kernel's routes (host-gw).",
    source: 'RFC 1812 §5.2.3',
    advice: NORMAL,
  }) as 84,
  SCTP_TRUNCATED: row(85, {
    name: 'sctp-truncated',
    class: 'dropped',
    sentence: 'The packet ends inside the SCTP common header.',
    source: 'RFC 9260 §3',
    advice: MALFORMED,
  }) as 85,
  FRAGMENT_LENGTH: row(86, {
    name: 'fragment-length',
    class: 'dropped',
    sentence: 'An empty fragment, or one that is not the last and not a multiple of 8 bytes long.',
    source: 'RFC 791 §3.2, linux ip_fragment.c',
    advice: 'An attack on reassembly, or a broken sender: find it.',
  }) as 86,
  PING_FRAGMENTED: row(87, {
    name: 'ping-fragmented',
    class: 'dropped',
    sentence: 'As ping-answered, but the echo request was fragmented, and fragments are not reassembled here.',
    source: 'docs/architecture.md',
    advice: "Ping with less than the pod's MTU (`ping -s 1400`).",
  }) as 87,
  ICMP_TO_SERVICE: row(88, {
    name: 'icmp-to-service',
    class: 'dropped',
    sentence: 'An ICMP query other than an echo request to a service address.',
    source: 'RFC 1122 §3.2.2.8',
    advice: SCAN,
  }) as 88,
  NO_ROUTE_BACK: row(89, {
    name: 'no-route-back',
    class: 'dropped',
    sentence: 'No route to the source: a reply could not be sent.',
    source: 'RFC 1812 §5.3.8',
    advice: 'Something outside the cluster uses an address of the service network: find the sender.',
  }) as 89,
  PORT_NOT_DECLARED_SILENT: row(90, {
    name: 'port-not-declared-silent',
    class: 'dropped',
    sentence: 'As port-not-declared, but no reply was permitted.',
    source: 'RFC 1812 §4.3.2.7',
    advice: FORBIDDEN,
  }) as 90,
  ENDPOINT_GONE_SILENT: row(91, {
    name: 'endpoint-gone-silent',
    class: 'dropped',
    sentence: 'As endpoint-gone, but no reply was permitted.',
    source: 'RFC 1812 §4.3.2.7',
    advice: FORBIDDEN,
  }) as 91,
  FROM_UNKNOWN_PORT: row(92, {
    name: 'from-unknown-port',
    class: 'dropped',
    sentence: 'Received on a device that belongs to no pod, or no longer.',
    source: 'docs/architecture.md',
    advice: 'The pod is starting or ending. If it lasts: `dataplane status`, then the log of the agent.',
  }) as 92,
  DEVICE_CLOSED: row(93, {
    name: 'device-closed',
    class: 'lost',
    sentence: 'The device was closed before the frame could be written.',
    source: 'linux drivers/net/tun.c',
    advice: 'The pod is ending. If it lasts: `dataplane status`, then the log of the agent.',
  }) as 93,
  ECN_MARK_LOST: row(94, {
    name: 'ecn-not-capable',
    class: 'dropped',
    sentence: 'An overlay packet with a congestion mark in its outer header whose inner sender does not support ECN.',
    source: 'RFC 6040 §4.2',
    advice: 'A link between the nodes is congested and marks packets it should drop, or the mark is forged.',
  }) as 94,
  FRAGMENT_FIRST_MISSING: row(95, {
    name: 'fragment-first-missing',
    class: 'dropped',
    sentence:
      'A held fragment that was given up: the first fragment of its datagram did not arrive within 30 s or was refused, fragments overlapped, or newer fragments took its memory.',
    source: 'RFC 791, linux net.ipv4.ipfrag_time',
    advice: 'First fragments are lost or refused on the way, or a flood of fragments.',
  }) as 95,
  ICMP_ERROR_NOT_SENT: row(96, {
    name: 'icmp-error-not-sent',
    class: 'dropped',
    sentence:
      'An ICMP error about a packet that its connection cannot have sent: a reply before there was one, a TCP segment that is not in flight, or one that fits the MTU that the error reports.',
    source: 'RFC 5927 §4.1, linux net/ipv4/tcp_ipv4.c',
    advice:
      'Late errors about segments that were sent again: harmless. Many: somebody guesses connections to slow down.',
  }) as 96,
  PING_UNANSWERED: row(99, {
    name: 'ping-unanswered',
    class: 'lost',
    sentence: 'A ping of a pod to the outside that was not answered within 30 s, or only by an ICMP error.',
    source: 'RFC 792, linux net.netfilter.nf_conntrack_icmp_timeout',
    advice:
      'The host does not answer pings, or something on the way drops them: capture at the node, `ping` from the node itself.',
  }) as 99,
  CONNTRACK_SHARE: row(100, {
    name: 'conntrack-share',
    class: 'dropped',
    sentence: "The pod holds its share of the node's connection table, and none of its connections may be evicted.",
    source: 'native-free-dataplane/conntrack/shares.ts',
    advice:
      'The pod, or what it serves, is flooded with connections or does not close them: `dataplane conntrack list` shows them. If they are needed, enlarge the table.',
  }) as 100,
  BANDWIDTH_EXCEEDED: row(101, {
    name: 'bandwidth-exceeded',
    class: 'dropped',
    sentence: "More than the limit of the pod's annotation kubernetes.io/ingress-bandwidth or egress-bandwidth.",
    source: 'CNI plugins meta/bandwidth',
    advice: 'Normal for a pod with such a limit: TCP adapts to it. Raise the limit if the pod needs more.',
  }) as 101,
  LINK_LOCAL_DESTINATION: row(102, {
    name: 'link-local-destination',
    class: 'dropped',
    sentence: 'To a link-local address outside, 169.254.0.0/16, such as the metadata of a cloud.',
    source: 'RFC 3927 §2.7',
    advice: 'A pod tries to read the credentials of its node. If it should, `up --forward-link-local`.',
  }) as 102,
  DHCP_FROM_POD: row(103, {
    name: 'dhcp-from-pod',
    class: 'dropped',
    sentence: 'A pod answers DHCP clients, from UDP port 67 to 68.',
    source: 'CVE-2020-10749',
    advice: FORGED,
  }) as 103,
  OWN_PING: row(104, {
    name: 'own-ping',
    class: 'noted',
    sentence:
      "A copy of a ping that the node itself has sent: no pod's ping to the same host gets its identifier meanwhile.",
    source: 'linux nf_nat_core.c get_unique_tuple',
    advice: NORMAL,
  }) as 104,
  CONNECTION_RATE: row(105, {
    name: 'connection-rate',
    class: 'dropped',
    sentence:
      'The pod opens more connections a second than its annotation dataplane.dev/new-connections-per-second allows.',
    source: 'native-free-dataplane/node/budgets.ts',
    advice: 'Normal for a pod with such a budget: TCP tries again. Raise it if the pod needs more.',
  }) as 105,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** The rows, by number; undefined where no verdict has the number. */
export const VERDICTS: readonly (VerdictRow | undefined)[] = rows;

/** The rows as arrays for the pipeline, by number: kind of reply, ICMP error, verdict to count without a reply. */
export const REPLY_KIND: Uint8Array = Uint8Array.from(rows, (each) => each?.reply?.kind ?? ReplyKind.NONE);
export const REPLY_ERROR: readonly IcmpError[] = Array.from(rows, (each) => each?.reply?.error ?? NO_ERROR);
export const UNANSWERED: Uint8Array = Uint8Array.from(rows, (each, number) =>
  each?.unanswered === undefined ? number : verdictNamed(each.unanswered),
);

/** 1 for each verdict of a packet that did not reach its destination (isFailure). */
export const FAILED: Uint8Array = Uint8Array.from(rows, (each) => (each !== undefined && isFailure(each) ? 1 : 0));

/** 1 for each verdict that needs nothing more: no reply is required, and the packet did not fail. */
export const IS_SETTLED: Uint8Array = Uint8Array.from(rows, (_, number) =>
  REPLY_KIND[number] === ReplyKind.NONE && FAILED[number] === 0 ? 1 : 0,
);

/** Number of the verdict with this name. @throws Error if there is none */
export function verdictNamed(name: string): Verdict {
  const number = rows.findIndex((each) => each?.name === name);
  if (number < 0) throw new Error(`no verdict is named ${name}`);
  return number as Verdict;
}

/** Name of a verdict; `verdict-N` for a number that is not used. */
export function verdictName(verdict: number): string {
  return rows[verdict]?.name ?? `verdict-${verdict}`;
}

/**
 * Did the packet fail to reach its destination: dropped, lost, or refused with a reset or an ICMP error? `dataplane
 * status` lists these.
 */
export function isFailure(verdict: VerdictRow): boolean {
  if (verdict.class === 'dropped' || verdict.class === 'lost') return true;
  const kind = verdict.reply?.kind ?? ReplyKind.NONE;
  return kind === ReplyKind.TCP_RESET || kind === ReplyKind.ICMP_ERROR || kind === ReplyKind.AS_CLOSED_PORT;
}
