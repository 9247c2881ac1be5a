/**
 * The packet descriptor: where a frame lies in its worker's arena, what its headers say, and what was decided about it.
 *
 * Every offset is absolute in `bytes`, so pushing or popping a header moves `start` and nothing else. That includes the
 * checksum offsets of the virtio-net header: in that header they count from the frame's first byte, here they stay the
 * same when 50 bytes of VXLAN are put in front (linux include/linux/virtio_net.h virtio_net_hdr_to_skb).
 *
 * Each worker has one descriptor and reuses it for every frame. Every field starts as a number, because V8 boxes each
 * store of an unsigned word into a field that started undefined (3.2 → 7.4 ns, V8 11.3).
 */

/** virtio_net_hdr.gso_type without the ECN and tunnel bits (linux: include/uapi/linux/virtio_net.h). */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;

/** The descriptor of one packet. Stages read and write its fields directly. */
export class Packet {
  /** The arena, and a view over the very same bytes. */
  bytes: Uint8Array;
  view: DataView;

  /** First byte of the (outermost remaining) Ethernet header. */
  start = 0;
  /** One past the frame's last byte. */
  end = 0;
  /** First byte of the network header; 0 until parsed. */
  l3 = 0;
  /** First byte of the transport header; 0 until parsed. */
  l4 = 0;

  /** Device the frame was received on (0 = dp0, the node's kernel), and the device it is sent on. */
  inPort = 0;
  outPort = 0;

  /** 4, 6 or FAMILY_ARP (stages/parse.ts); 0 until parsed. */
  family = 0;
  /** IP protocol number of the transport header. */
  protocol = 0;
  /** The packet's current addresses: four words each, IPv4 mapped (0, 0, 0xffff, a.b.c.d as int32). */
  readonly src: Int32Array = new Int32Array(4);
  readonly dst: Int32Array = new Int32Array(4);
  /**
   * Transport ports; 0 for protocols without ports. An ICMP query has its identifier as the querying side's port and
   * the request's type as the other side's.
   */
  srcPort = 0;
  dstPort = 0;
  /** Tuple kind for look-ups in the connection table: the protocol number, or ICMP_ANSWER for ICMP replies. */
  tupleKind = 0;
  /** TCP flags byte; 0 for other protocols. */
  tcpFlags = 0;
  /** ICMP type and code; 0 for other protocols. */
  icmpType = 0;
  icmpCode = 0;
  /** IPv4 fragment offset in bytes; moreFragments is 0 or 1. A whole packet has both 0. */
  fragmentOffset = 0;
  moreFragments = 0;

  /**
   * 1 if this node is the packet's router: the frame was sent to the gateway's MAC. 0: it is switched to a pod of the
   * node.
   */
  routed = 0;
  /** 1 if the node's kernel routed the packet to dp0 and lowered its TTL; 0 from a pod, the overlay or the shortcut. */
  forwarded = 0;
  /** 1 if the packet came from another node; tunnelNode is then that node's hop. */
  tunnelled = 0;
  tunnelNode = 0;

  /** Keyed hash of the tuple the packet was looked up by; also the source of the overlay's outer UDP port. */
  hash = 0;
  /** Bytes of transport payload (TCP: sequence space without SYN and FIN). */
  payloadBytes = 0;

  /** Decisions about a first packet. 1 if the destination is translated to newDst:newDstPort. */
  dnat = 0;
  readonly newDst: Int32Array = new Int32Array(4);
  newDstPort = 0;
  /** 1 if the source is translated to an address of this node. */
  masquerade = 0;
  /** Id of the chosen endpoint (services/endpoints.ts), 0 = none. */
  endpoint = 0;
  /**
   * Service port with client affinity that the endpoint is remembered for, and its timeout; 0 seconds = no affinity.
   */
  affinityPort = 0;
  affinitySeconds = 0;

  /** Conntrack record of the packet's flow, or -1, and its direction: 0 original, 1 reply. */
  flow = -1;
  direction = 0;
  /** 1 if another worker created the flow while this one was about to. */
  joined = 0;
  /** With Verdict.FRAGMENTATION_NEEDED: MTU of the link that is too small for the packet. Undefined otherwise. */
  linkMtu = 0;
  /** With Verdict.POLICY_EGRESS and POLICY_INGRESS: number of the rule that denies (policies/rules.ts). 0: not known. */
  policyRule = 0;
  /** Not 0 if a limit of traffic applies to the packet (stages/ttl-mtu.ts). */
  limited = 0;

  /** Offload fields, from the virtio-net header. 1 if the transport checksum is pending: the receiver completes it. */
  needsChecksum = 0;
  /** Absolute offset of the transport header the pending checksum covers, and the field's offset in it. */
  checksumStart = 0;
  checksumOffset = 0;
  /** GSO_NONE or the kind of super-packet; gsoSize is the payload bytes per segment. */
  gsoType: number = GSO_NONE;
  gsoSize = 0;
  /** 1 if the TCP super-packet has CWR set, in its first segment only (VIRTIO_NET_HDR_GSO_ECN). */
  gsoEcn = 0;
  /** Absolute offset of the end of the innermost transport header; a hint for the kernel. */
  headersEnd = 0;
  /** Absolute offsets of the outer UDP header and the inner IP header of an encapsulated super-packet; else 0. */
  outerL4 = 0;
  innerL3 = 0;

  /**
   * @param arena plain (never shared) memory that holds the frames of one worker
   */
  constructor(arena: ArrayBuffer) {
    this.bytes = new Uint8Array(arena);
    this.view = new DataView(arena);
  }

  /**
   * Make the descriptor describe a newly received frame: set its position and clear every other field.
   * @param start absolute offset of the Ethernet header, with room for an overlay's headers in front (dataplane.ts,
   *   FRAME_AT)
   * @param end one past the last byte
   * @param inPort number of the receiving port
   */
  reset(start: number, end: number, inPort: number): void {
    this.start = start;
    this.end = end;
    this.inPort = inPort;
    this.outPort = 0;
    this.l3 = 0;
    this.l4 = 0;
    this.family = 0;
    this.protocol = 0;
    this.srcPort = 0;
    this.dstPort = 0;
    this.tupleKind = 0;
    this.tcpFlags = 0;
    this.icmpType = 0;
    this.icmpCode = 0;
    this.fragmentOffset = 0;
    this.moreFragments = 0;
    this.routed = 0;
    this.forwarded = 0;
    this.tunnelled = 0;
    this.tunnelNode = 0;
    this.hash = 0;
    this.payloadBytes = 0;
    this.dnat = 0;
    this.newDstPort = 0;
    this.masquerade = 0;
    this.endpoint = 0;
    this.affinitySeconds = 0;
    this.flow = -1;
    this.direction = 0;
    this.joined = 0;
    this.policyRule = 0;
    this.limited = 0;
    this.needsChecksum = 0;
    this.checksumStart = 0;
    this.checksumOffset = 0;
    this.gsoType = GSO_NONE;
    this.gsoSize = 0;
    this.gsoEcn = 0;
    this.headersEnd = 0;
    this.outerL4 = 0;
    this.innerL3 = 0;
  }
}
