/**
 * Every way a packet ends, in one list: counters, CLI text, metrics and docs/drops.md all come from here.
 *
 * A stage returns GO_ON (0) or the verdict that ends the packet. The number is the counter's index in shared memory,
 * so a line is never moved or reused: new verdicts go at the end, before nothing.
 */

/** What became of the packet, in the four words a person would use. */
export type VerdictClass = 'continue' | 'sent' | 'answered' | 'held' | 'dropped';

export interface VerdictText {
  /** Stable kebab-case name: counters, JSON, metrics. */
  readonly name: string;
  readonly class: VerdictClass;
  /** One sentence for people. */
  readonly sentence: string;
  /** Where the rule comes from. */
  readonly source: string;
}

export const Verdict = {
  GO_ON: 0,
  SENT: 1,
  TO_HOST: 2,
  ENCAPSULATED: 3,
  ARP_ANSWERED: 4,
  PING_ANSWERED: 5,
  REJECTED_TCP_RESET: 6,
  REJECTED_PORT_UNREACHABLE: 7,
  REJECTED_PROHIBITED: 8,
  TTL_EXCEEDED: 9,
  FRAGMENTATION_NEEDED: 10,
  NO_ROUTE_ANSWERED: 11,
  FRAGMENT_HELD: 12,
  FRAME_TRUNCATED: 16,
  SOURCE_MAC_INVALID: 17,
  DESTINATION_MAC_FOREIGN: 18,
  ETHERTYPE_UNKNOWN: 19,
  VLAN_TAGGED: 20,
  ARP_MALFORMED: 21,
  ARP_UNKNOWN_TARGET: 22,
  ARP_REPLY_IGNORED: 23,
  ARP_SPOOFED: 24,
  IPV4_TRUNCATED: 25,
  IPV4_VERSION: 26,
  IPV4_HEADER_LENGTH: 27,
  IPV4_TOTAL_LENGTH: 28,
  IPV4_CHECKSUM: 29,
  IPV4_MARTIAN_SOURCE: 30,
  IPV4_MARTIAN_DESTINATION: 31,
  IPV4_SOURCE_ROUTE: 32,
  IPV6_NOT_FORWARDED: 33,
  SPOOFED_SOURCE_IP: 34,
  SPOOFED_SOURCE_MAC: 35,
  MULTICAST: 36,
  TCP_TRUNCATED: 37,
  TCP_HEADER_LENGTH: 38,
  TCP_FLAGS: 39,
  UDP_TRUNCATED: 40,
  UDP_LENGTH: 41,
  ICMP_TRUNCATED: 42,
  // 43 was a wrong transport checksum: left to the receiver, which has to check it anyway.
  PORT_ZERO: 44,
  FRAGMENT_OVERLAP: 45,
  FRAGMENT_TINY: 46,
  FRAGMENT_TOO_LONG: 47,
  FRAGMENT_TABLE_FULL: 48,
  FRAGMENT_TIMEOUT: 49,
  VXLAN_TRUNCATED: 50,
  VXLAN_FLAGS: 51,
  VXLAN_VNI: 52,
  VXLAN_UNKNOWN_PEER: 53,
  VXLAN_INNER_SOURCE: 54,
  VXLAN_INNER_FRAME: 55,
  VXLAN_CHECKSUM: 56,
  OVERLAY_FROM_POD: 57,
  CONNTRACK_INVALID: 58,
  CONNTRACK_FULL: 59,
  // 60 was an ICMP question that looked like an answer.
  SNAT_EXHAUSTED: 61,
  ICMP_ERROR_UNRELATED: 62,
  ICMP_ERROR_MALFORMED: 63,
  ICMP_REDIRECT: 64,
  NO_SUCH_SERVICE: 65,
  SOURCE_RANGE: 66,
  LOCAL_POLICY_DROP: 67,
  PORT_NOT_DECLARED: 68,
  NO_ROUTE: 69,
  PORT_DOWN: 70,
  TTL_EXCEEDED_SILENT: 71,
  TOO_BIG_SILENT: 72,
  WRITE_FAILED: 73,
  WRITE_QUEUE_FULL: 74,
  SEGMENTATION_FAILED: 75,
  NOT_FOR_US: 76,
  NO_ENDPOINT_SILENT: 77,
  ENDPOINT_GONE: 78,
  OFFLOAD_INVALID: 79,
  LOOPBACK_FROM_NETWORK: 80,
  FRAGMENT_DUPLICATE: 81,
  IPIP_UNKNOWN_PEER: 82,
  IPIP_INNER_SOURCE: 83,
  ROUTED_TO_NODE: 84,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Counters are laid out for this many verdicts; the list above stays below it. */
export const MAX_VERDICTS = 128;

const text = (name: string, kind: VerdictClass, sentence: string, source: string): VerdictText => ({
  name,
  class: kind,
  sentence,
  source,
});

/** Texts by verdict number; a hole is a number not used. */
export const VERDICT_TEXTS: readonly (VerdictText | undefined)[] = /* @__PURE__ */ (() => {
  const texts: (VerdictText | undefined)[] = new Array(MAX_VERDICTS).fill(undefined);
  const say = (verdict: Verdict, name: string, kind: VerdictClass, sentence: string, source: string): void => {
    texts[verdict] = text(name, kind, sentence, source);
  };
  say(Verdict.GO_ON, 'go-on', 'continue', 'Not finished: the next stage decides.', 'pipeline.ts');
  say(Verdict.SENT, 'forwarded', 'sent', 'Sent to a pod of this node.', 'RFC 1812 §5');
  say(
    Verdict.TO_HOST,
    'to-host',
    'sent',
    'Handed to the node itself (its own address, or beyond the cluster).',
    'RFC 1812 §5.2.3',
  );
  say(Verdict.ENCAPSULATED, 'encapsulated', 'sent', 'Sent over the overlay to another node.', 'RFC 7348 §4.1');
  say(
    Verdict.ARP_ANSWERED,
    'arp-answered',
    'answered',
    'An ARP request for a pod or the gateway was answered here.',
    'RFC 826',
  );
  say(
    Verdict.PING_ANSWERED,
    'ping-answered',
    'answered',
    'The gateway or a service address answered an echo request.',
    'RFC 792',
  );
  say(
    Verdict.REJECTED_TCP_RESET,
    'rejected-tcp-reset',
    'answered',
    'Refused with a TCP reset: the service port has nothing behind it.',
    'RFC 9293 §3.10.7.1',
  );
  say(
    Verdict.REJECTED_PORT_UNREACHABLE,
    'rejected-port-unreachable',
    'answered',
    'Refused with ICMP port unreachable: the service port has nothing behind it.',
    'RFC 792, kubernetes pkg/proxy (REJECT)',
  );
  say(
    Verdict.REJECTED_PROHIBITED,
    'rejected-prohibited',
    'answered',
    'Refused with ICMP administratively prohibited: no source port could be found for the translation.',
    'RFC 5508 §3.1 (REQ-8)',
  );
  say(
    Verdict.TTL_EXCEEDED,
    'ttl-exceeded',
    'answered',
    'The TTL ran out here; the sender was told.',
    'RFC 1812 §5.3.1',
  );
  say(
    Verdict.FRAGMENTATION_NEEDED,
    'fragmentation-needed',
    'answered',
    'Larger than the next link and marked do-not-fragment; the sender was told the MTU.',
    'RFC 1191 §4',
  );
  say(
    Verdict.NO_ROUTE_ANSWERED,
    'no-route-answered',
    'answered',
    'No way to the destination; the sender was told.',
    'RFC 1812 §5.2.7.1',
  );
  say(
    Verdict.FRAGMENT_HELD,
    'fragment-held',
    'held',
    'A later fragment that arrived before its first is kept until the first comes.',
    'RFC 791, RFC 4787 REQ-14',
  );
  say(Verdict.FRAME_TRUNCATED, 'frame-truncated', 'dropped', 'Shorter than an Ethernet header.', 'IEEE 802.3');
  say(
    Verdict.SOURCE_MAC_INVALID,
    'source-mac-invalid',
    'dropped',
    'The Ethernet source is a group address.',
    'IEEE 802.3 §3.2.3',
  );
  say(
    Verdict.DESTINATION_MAC_FOREIGN,
    'destination-mac-foreign',
    'dropped',
    'The Ethernet destination is neither the gateway nor a pod of this node.',
    'RFC 1812 §5.3.4',
  );
  say(Verdict.ETHERTYPE_UNKNOWN, 'ethertype-unknown', 'dropped', 'Neither IPv4, IPv6 nor ARP.', 'IEEE 802 numbers');
  say(Verdict.VLAN_TAGGED, 'vlan-tagged', 'dropped', 'Pods and the overlay carry no VLAN tags.', 'RFC 7348 §6.1');
  say(
    Verdict.ARP_MALFORMED,
    'arp-malformed',
    'dropped',
    'An ARP packet that is cut short or not for Ethernet and IPv4.',
    'RFC 826',
  );
  say(
    Verdict.ARP_UNKNOWN_TARGET,
    'arp-unknown-target',
    'dropped',
    'An ARP request for an address that no pod here has.',
    'RFC 826',
  );
  say(
    Verdict.ARP_REPLY_IGNORED,
    'arp-reply-ignored',
    'dropped',
    'An ARP reply: bindings come from the cluster state, never from the wire.',
    'RFC 5227 §2.4',
  );
  say(
    Verdict.ARP_SPOOFED,
    'arp-spoofed',
    'dropped',
    'An ARP packet whose sender address is not the one of the pod that sent it.',
    'RFC 5227, CNI macspoofchk',
  );
  say(Verdict.IPV4_TRUNCATED, 'ipv4-truncated', 'dropped', 'The frame ends inside the IPv4 header.', 'RFC 1812 §5.2.2');
  say(
    Verdict.IPV4_VERSION,
    'ipv4-version',
    'dropped',
    'EtherType IPv4, but the version field is not 4.',
    'RFC 1812 §5.2.2',
  );
  say(
    Verdict.IPV4_HEADER_LENGTH,
    'ipv4-header-length',
    'dropped',
    'The header length field is below 5 words or beyond the packet.',
    'RFC 1812 §5.2.2',
  );
  say(
    Verdict.IPV4_TOTAL_LENGTH,
    'ipv4-total-length',
    'dropped',
    'The total length is below the header or beyond the frame.',
    'RFC 1812 §5.2.2',
  );
  say(Verdict.IPV4_CHECKSUM, 'ipv4-checksum', 'dropped', 'The IPv4 header checksum is wrong.', 'RFC 1812 §5.2.2');
  say(
    Verdict.IPV4_MARTIAN_SOURCE,
    'ipv4-martian-source',
    'dropped',
    'A source address that no host may use on a network.',
    'RFC 1812 §5.3.7',
  );
  say(
    Verdict.IPV4_MARTIAN_DESTINATION,
    'ipv4-martian-destination',
    'dropped',
    'A destination address that must not be forwarded.',
    'RFC 1812 §5.3.7',
  );
  say(Verdict.IPV4_SOURCE_ROUTE, 'ipv4-source-route', 'dropped', 'A source-route option.', 'RFC 7126 §4.3');
  say(Verdict.IPV6_NOT_FORWARDED, 'ipv6-not-forwarded', 'dropped', 'IPv6 is not forwarded yet.', 'docs/semantics.md');
  say(
    Verdict.SPOOFED_SOURCE_IP,
    'spoofed-source-ip',
    'dropped',
    'The source address is not that of the pod that sent the packet, or it is a pod’s and no pod sent it.',
    'RFC 2827',
  );
  say(
    Verdict.SPOOFED_SOURCE_MAC,
    'spoofed-source-mac',
    'dropped',
    'The Ethernet source is not the MAC of the pod that sent the frame.',
    'CNI macspoofchk',
  );
  say(Verdict.MULTICAST, 'multicast', 'dropped', 'Multicast or broadcast: not forwarded.', 'RFC 1812 §5.3.4');
  say(Verdict.TCP_TRUNCATED, 'tcp-truncated', 'dropped', 'The packet ends inside the TCP header.', 'RFC 9293 §3.1');
  say(
    Verdict.TCP_HEADER_LENGTH,
    'tcp-header-length',
    'dropped',
    'The TCP data offset is below 5 words or beyond the packet.',
    'RFC 9293 §3.1',
  );
  say(
    Verdict.TCP_FLAGS,
    'tcp-flags',
    'dropped',
    'A combination of TCP flags that no stack sends.',
    'linux nf_conntrack_proto_tcp.c tcp_valid_flags',
  );
  say(Verdict.UDP_TRUNCATED, 'udp-truncated', 'dropped', 'The packet ends inside the UDP header.', 'RFC 768');
  say(Verdict.UDP_LENGTH, 'udp-length', 'dropped', 'The UDP length is below 8 or beyond the packet.', 'RFC 768');
  say(Verdict.ICMP_TRUNCATED, 'icmp-truncated', 'dropped', 'The packet ends inside the ICMP header.', 'RFC 792');
  say(Verdict.PORT_ZERO, 'port-zero', 'dropped', 'A TCP or UDP port of 0 that cannot be tracked.', 'RFC 6335 §6');
  say(
    Verdict.FRAGMENT_OVERLAP,
    'fragment-overlap',
    'dropped',
    'Fragments of one datagram overlap: the whole datagram is dropped.',
    'RFC 5722 §4, linux ip_fragment.c',
  );
  say(
    Verdict.FRAGMENT_DUPLICATE,
    'fragment-duplicate',
    'dropped',
    'A fragment that was seen before; the rest of its datagram is not affected.',
    'RFC 8200 §4.5, linux inet_fragment.c',
  );
  say(
    Verdict.FRAGMENT_TINY,
    'fragment-tiny',
    'dropped',
    'A first fragment too short to hold the transport ports, or one at offset 8.',
    'RFC 1858, RFC 3128',
  );
  say(Verdict.FRAGMENT_TOO_LONG, 'fragment-too-long', 'dropped', 'A fragment that ends beyond 65535 bytes.', 'RFC 791');
  say(
    Verdict.FRAGMENT_TABLE_FULL,
    'fragment-table-full',
    'dropped',
    'Too many datagrams in fragments at once.',
    'CVE-2018-5391',
  );
  say(Verdict.FRAGMENT_TIMEOUT, 'fragment-timeout', 'dropped', 'The first fragment did not come in time.', 'RFC 791');
  say(
    Verdict.VXLAN_TRUNCATED,
    'vxlan-truncated',
    'dropped',
    'Too short for a VXLAN header and an inner frame.',
    'RFC 7348 §5',
  );
  say(
    Verdict.VXLAN_FLAGS,
    'vxlan-flags',
    'dropped',
    'The VNI flag is missing or a reserved bit is set.',
    'RFC 7348 §5, linux vxlan_rcv',
  );
  say(Verdict.VXLAN_VNI, 'vxlan-vni', 'dropped', 'A network identifier that is not ours.', 'RFC 7348 §4.2');
  say(
    Verdict.VXLAN_UNKNOWN_PEER,
    'vxlan-unknown-peer',
    'dropped',
    'The outer source is not a node of the cluster.',
    'RFC 7348 §7',
  );
  say(
    Verdict.VXLAN_INNER_SOURCE,
    'vxlan-inner-source',
    'dropped',
    'The inner source does not belong to the node that sent it.',
    'RFC 7348 §7',
  );
  say(
    Verdict.VXLAN_INNER_FRAME,
    'vxlan-inner-frame',
    'dropped',
    'The inner frame is not one that a node would send.',
    'RFC 7348 §4.1',
  );
  say(
    Verdict.VXLAN_CHECKSUM,
    'vxlan-checksum',
    'dropped',
    'The outer UDP checksum is not zero and wrong.',
    'RFC 7348 §5',
  );
  say(
    Verdict.OVERLAY_FROM_POD,
    'overlay-from-pod',
    'dropped',
    'A pod sent tunnel traffic to a node.',
    'CVE-2020-10136, calico felix #2063',
  );
  say(
    Verdict.CONNTRACK_INVALID,
    'conntrack-invalid',
    'dropped',
    'Not a packet that its connection could hold now.',
    'kubernetes #74839, linux nf_conntrack',
  );
  say(
    Verdict.CONNTRACK_FULL,
    'conntrack-full',
    'dropped',
    'The connection table is full of established connections.',
    'linux nf_conntrack_core.c',
  );
  say(
    Verdict.SNAT_EXHAUSTED,
    'snat-exhausted',
    'dropped',
    'No source port is free for this destination.',
    'RFC 5508 REQ-8',
  );
  say(
    Verdict.ICMP_ERROR_UNRELATED,
    'icmp-error-unrelated',
    'dropped',
    'An ICMP error about a connection that is not known, or sent to another than who is quoted.',
    'RFC 5508 REQ-4',
  );
  say(
    Verdict.ICMP_ERROR_MALFORMED,
    'icmp-error-malformed',
    'dropped',
    'An ICMP error whose quoted packet cannot be read or whose checksum is wrong.',
    'RFC 5508 REQ-3',
  );
  say(Verdict.ICMP_REDIRECT, 'icmp-redirect', 'dropped', 'An ICMP redirect.', 'linux nf_nat_core.c, CVE-2020-10749');
  say(
    Verdict.NO_SUCH_SERVICE,
    'no-such-service',
    'dropped',
    'An address of the service range that no service has.',
    'kubernetes pkg/proxy/nftables',
  );
  say(
    Verdict.SOURCE_RANGE,
    'source-range',
    'dropped',
    'The client is outside loadBalancerSourceRanges.',
    'kubernetes pkg/proxy',
  );
  say(
    Verdict.LOCAL_POLICY_DROP,
    'local-policy-drop',
    'dropped',
    'A Local traffic policy and no endpoint on this node (configured to drop).',
    'kubernetes pkg/proxy',
  );
  say(
    Verdict.PORT_NOT_DECLARED,
    'port-not-declared',
    'dropped',
    'The pod does not declare this port and the port policy is "declared".',
    'docs/semantics.md',
  );
  say(Verdict.NO_ROUTE, 'no-route', 'dropped', 'No way to the destination.', 'RFC 1812 §5.2.7.1');
  say(
    Verdict.PORT_DOWN,
    'port-down',
    'dropped',
    'The device the packet should leave by is gone.',
    'docs/architecture.md',
  );
  say(
    Verdict.TTL_EXCEEDED_SILENT,
    'ttl-exceeded-silent',
    'dropped',
    'The TTL ran out and the sender may not be told (rate limit, or an ICMP error itself).',
    'RFC 1812 §4.3.2.7',
  );
  say(
    Verdict.TOO_BIG_SILENT,
    'too-big-silent',
    'dropped',
    'Too big for the next link and the sender may not be told.',
    'RFC 1812 §4.3.2.7',
  );
  say(Verdict.WRITE_FAILED, 'write-failed', 'dropped', 'The kernel refused the frame.', 'linux drivers/net/tun.c');
  say(
    Verdict.WRITE_QUEUE_FULL,
    'write-queue-full',
    'dropped',
    'The device could not take the frame now.',
    'linux drivers/net/tun.c',
  );
  say(
    Verdict.SEGMENTATION_FAILED,
    'segmentation-failed',
    'dropped',
    'A super-packet that cannot be cut into segments.',
    'linux net/core/skbuff.c skb_segment',
  );
  say(
    Verdict.NOT_FOR_US,
    'not-for-us',
    'dropped',
    'From the node, to an address that is neither a pod, a service nor translated.',
    'docs/architecture.md',
  );
  say(
    Verdict.NO_ENDPOINT_SILENT,
    'no-endpoint-silent',
    'dropped',
    'No endpoint, and the sender may not be told.',
    'RFC 1812 §4.3.2.7',
  );
  say(
    Verdict.ENDPOINT_GONE,
    'endpoint-gone',
    'answered',
    'The endpoint of an established connection is gone; the client was reset.',
    'docs/semantics.md',
  );
  say(
    Verdict.OFFLOAD_INVALID,
    'offload-invalid',
    'dropped',
    'A virtio-net header that does not fit its frame.',
    'linux include/linux/virtio_net.h',
  );
  say(
    Verdict.LOOPBACK_FROM_NETWORK,
    'loopback-from-network',
    'dropped',
    'A loopback address on a packet that did not come from the node itself.',
    'CVE-2020-8558',
  );
  say(
    Verdict.IPIP_UNKNOWN_PEER,
    'ipip-unknown-peer',
    'dropped',
    'The outer source is not a node of the cluster.',
    'RFC 2003 §6, CVE-2020-10136',
  );
  say(
    Verdict.IPIP_INNER_SOURCE,
    'ipip-inner-source',
    'dropped',
    'The inner source does not belong to the node that sent it.',
    'RFC 2003 §6, CVE-2020-10136',
  );
  say(
    Verdict.ROUTED_TO_NODE,
    'routed-to-node',
    'sent',
    "Sent to another node by the kernel's routes (host-gw).",
    'RFC 1812 §5.2.3',
  );
  return texts;
})();

/** Name of a verdict, for people. */
export function verdictName(verdict: number): string {
  return VERDICT_TEXTS[verdict]?.name ?? `verdict-${verdict}`;
}
