/**
 * The interface of an overlay: what it does with packets. One object per overlay; overlay.ts selects the one in use.
 */
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import type { Verdict } from '../verdicts.ts';

export interface PacketOverlay {
  /** Bytes the overlay's headers add to a packet between nodes. */
  readonly overheadBytes: number;
  /** Verdict of a packet that was sent to another node. */
  readonly sentAs: Verdict;
  /**
   * Are packets encapsulated? Then nothing on the way can complete a pending inner checksum (calico #3145, flannel
   * #2152), so it is completed before `encapsulate`.
   */
  readonly isTunnel: boolean;
  /** Can the node's kernel accept an encapsulated super-packet whole? If not, it is segmented before `encapsulate`. */
  takesSuperPackets(dp: Dataplane): boolean;
  /** If not: can it accept one as trains (train.ts)? */
  sendsTrains(dp: Dataplane): boolean;
  /**
   * Write the overlay's headers to node `hop` in front of the packet at pkt.l3, without the outer Ethernet header.
   * @returns offset of the outermost IP header; pkt.l3 if the overlay adds no headers
   */
  encapsulate(pkt: Packet, dp: Dataplane, hop: number): number;
  /** Is this parsed packet from dp0 an overlay packet? The caller checks its destination address. */
  isTunnelPacket(pkt: Packet, dp: Dataplane): boolean;
  /** Remove the outer headers. GO_ON leaves the inner frame unparsed, with pkt.tunnelled and pkt.tunnelNode set. */
  decapsulate(pkt: Packet, dp: Dataplane): Verdict;
  /** After the inner frame was parsed: was it sent to this node, and does its source belong to the sending node? */
  checkInner(pkt: Packet, dp: Dataplane): Verdict;
  /** Set pkt.tunnelled and pkt.tunnelNode of a packet that another node sent without encapsulation. */
  markPeer(pkt: Packet, dp: Dataplane): void;
  /**
   * Is this unparsed packet an overlay packet? Asked of one that an ICMP error quotes.
   * @param l3,l4 offsets of its headers; only 8 bytes of the transport header are there
   */
  isOverlayPacket(view: DataView, l3: number, l4: number, config: Int32Array): boolean;
}
