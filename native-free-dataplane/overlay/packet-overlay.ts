/** What an overlay does with packets. One object of this shape per overlay; overlay.ts chooses the one in use. */
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import type { Verdict } from '../verdicts.ts';

export interface PacketOverlay {
  /** Bytes the overlay's headers add to a packet between nodes. */
  readonly overheadBytes: number;
  /** Verdict of a packet that was sent to another node. */
  readonly sentAs: Verdict;
  /**
   * Do packets travel inside other packets? Then nothing on the way can finish a pending inner checksum (calico #3145,
   * flannel #2152), so it is finished before `encapsulate`.
   */
  readonly isTunnel: boolean;
  /** Can the node's kernel take an encapsulated super-packet whole? If not, it is cut before `encapsulate`. */
  takesSuperPackets(dp: Dataplane): boolean;
  /**
   * Write the headers to the node behind `hop` in front of the packet at pkt.l3, the frame's own Ethernet header aside.
   * @returns where the outermost IP header starts
   */
  encapsulate(pkt: Packet, dp: Dataplane, hop: number): number;
  /** Is this parsed packet from the node's wire, sent to the node's address, one of the overlay's? */
  isTunnelPacket(pkt: Packet, dp: Dataplane): boolean;
  /** Take the outer headers off. GO_ON leaves the inner frame unparsed, with pkt.tunnelled and pkt.tunnelNode set. */
  decapsulate(pkt: Packet, dp: Dataplane): Verdict;
  /** After the inner frame was parsed: was it sent to this node, by the node that its source belongs to? */
  checkInner(pkt: Packet, dp: Dataplane): Verdict;
  /** Mark a packet off the wire that another node sent without a tunnel: sets pkt.tunnelled and pkt.tunnelNode. */
  markPeer(pkt: Packet, dp: Dataplane): void;
  /**
   * Was a packet that an ICMP error quotes sent by `encapsulate`?
   * @param l3,l4 the quoted packet's headers; only 8 bytes of the transport header are there
   */
  isQuoted(view: DataView, l3: number, l4: number, config: Int32Array): boolean;
}
