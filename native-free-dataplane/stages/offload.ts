/**
 * Is what the virtio-net header says about the very packet that was parsed? A kernel's header always is; a pod with raw
 * sockets may write any (PACKET_VNET_HDR). Everything behind this stage, and whoever finishes the checksum, trusts it.
 *
 * Read before editing: linux include/linux/virtio_net.h virtio_net_hdr_to_skb, net/ipv4/udp_offload.c; virtio 1.3 §5.1.6.2.
 */
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../frame/ipv4.ts';
import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4, type Packet } from '../packet.ts';

/** Offset of the checksum in its header. */
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/**
 * True when nothing is pending, or a checksum of this packet's TCP or UDP header in the place where that header has it
 * (anywhere else the kernel would overwrite, say, a port after it was judged), and a super-packet of the same protocol.
 * A fragment has neither: its checksum covers bytes that are elsewhere.
 */
export function offloadFits(pkt: Packet): boolean {
  if (pkt.needsChecksum === 0 && pkt.gsoType === GSO_NONE) return true;
  if (pkt.checksumStart !== pkt.l4 || pkt.outerL4 !== 0) return false;
  if (pkt.moreFragments !== 0 || pkt.fragmentOffset !== 0) return false;
  if (pkt.protocol === PROTOCOL_TCP) {
    return pkt.checksumOffset === TCP_CHECKSUM && (pkt.gsoType === GSO_NONE || pkt.gsoType === GSO_TCPV4);
  }
  if (pkt.protocol === PROTOCOL_UDP) {
    return pkt.checksumOffset === UDP_CHECKSUM && (pkt.gsoType === GSO_NONE || pkt.gsoType === GSO_UDP_L4);
  }
  return false;
}
