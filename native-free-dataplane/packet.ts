/**
 * The one packet descriptor of a worker: where a frame lies in the worker's arena and what is known of it.
 *
 * Every offset is absolute in `bytes`, so pushing or popping a header moves `start` and nothing else. That holds for
 * the checksum offsets of the virtio-net header too: on the wire they count from the frame's first byte, here they
 * do not move when 50 bytes of VXLAN are put in front (linux: include/linux/virtio_net.h, virtio_net_hdr_to_skb).
 *
 * One object is made per worker and reused; every field is born a number (a field that starts undefined and later
 * holds an unsigned word boxes a double at each store: 3.2 → 7.4 ns, V8 11.3).
 */

/** virtio_net_hdr.gso_type without the ECN and tunnel bits (linux: include/uapi/linux/virtio_net.h). */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;

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

  /** Port (device) the frame came from, and the one it leaves by. */
  inPort = 0;
  outPort = 0;

  /** 0 = not IP, 4 or 6. */
  family = 0;
  /** IP protocol number of the transport header. */
  protocol = 0;
  /** Addresses of the packet as it stands: 4 words each, IPv4 mapped (0, 0, 0xffff, a.b.c.d as int32). */
  readonly src: Int32Array = new Int32Array(4);
  readonly dst: Int32Array = new Int32Array(4);
  /** L4 ports; 0 for protocols without. ICMP queries: the identifier on the asking side, the request's type opposite. */
  srcPort = 0;
  dstPort = 0;
  /** What these are looked up as in the connection table: the protocol number, but ICMP's answers apart from its questions. */
  tupleKind = 0;
  /** TCP flags byte, ICMP type and code where they apply. */
  tcpFlags = 0;
  icmpType = 0;
  icmpCode = 0;
  /** IPv4 fragment offset in bytes; moreFragments is 0 or 1. A whole packet has both 0. */
  fragmentOffset = 0;
  moreFragments = 0;

  /** 1 when the Ethernet destination was this node's gateway MAC (the frame is routed, not switched). */
  routed = 0;
  /** 1 when the node's kernel handed the frame over as a router does, its TTL lowered; 0 from a pod or off the wire. */
  forwarded = 0;
  /** 1 when the frame came out of the overlay; tunnelNode is then the sending node's next-hop slot. */
  tunnelled = 0;
  tunnelNode = 0;

  /** Keyed hash of the tuple the packet was looked up by; the overlay's source port comes from it. */
  hash = 0;
  /** Bytes of transport payload (TCP: sequence space without SYN and FIN). */
  payloadBytes = 0;

  /** Decisions about a first packet: translate the destination to newDst:newDstPort, hide the source behind the node. */
  dnat = 0;
  readonly newDst: Int32Array = new Int32Array(4);
  newDstPort = 0;
  masquerade = 0;
  /** Id of the endpoint chosen (services.ts), 0 = none. */
  endpoint = 0;
  /** Service port whose affinity the choice is to be remembered for, and how long; 0 seconds = not at all. */
  affinityPort = 0;
  affinitySeconds = 0;

  /** Conntrack record of the packet's flow, or -1, and its direction: 0 original, 1 reply. */
  flow = -1;
  direction = 0;
  /** 1 when the flow is one that another worker made while this one was about to. */
  joined = 0;
  /** MTU of the link that the packet does not fit, with Verdict.FRAGMENTATION_NEEDED; else of no meaning. */
  linkMtu = 0;

  /** virtio-net header: checksum still to be finished by whoever takes the frame. */
  needsChecksum = 0;
  /** Absolute offset of the transport header the pending checksum covers, and the field's offset in it. */
  checksumStart = 0;
  checksumOffset = 0;
  /** GSO_NONE or the kind of super-packet; gsoSize is the payload bytes of each segment to be. */
  gsoType: number = GSO_NONE;
  gsoSize = 0;
  /** 1 when the TCP super-packet carries ECN (VIRTIO_NET_HDR_GSO_ECN). */
  gsoEcn = 0;
  /** Absolute offset of the end of the innermost transport header; a hint for the kernel. */
  headersEnd = 0;
  /** Absolute offset of the outer UDP header when an encapsulated super-packet, else 0; and of the inner IP header. */
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
   * Make the descriptor stand for a newly received frame; all that was known of the last one is forgotten.
   * @param start absolute offset of the Ethernet header, with room for an overlay's headers in front (dataplane.ts, FRAME_AT)
   * @param end one past the last byte
   * @param inPort index of the receiving port
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
