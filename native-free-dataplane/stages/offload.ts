/**
 * Checks the virtio-net header against the parsed packet. A kernel's header is always correct, but a pod with raw
 * sockets may write anything (PACKET_VNET_HDR). All later stages, and the receiver that finishes the checksum, trust
 * it.
 *
 * Read before editing: linux include/linux/virtio_net.h virtio_net_hdr_to_skb,
 * Documentation/networking/checksum-offloads.rst (LCO: an outer checksum is right once the inner one is finished);
 * virtio 1.3 §5.1.6.2.
 */
import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4, type Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { checksumOffsetOf, finishPendingChecksum } from '../wire/transport-checksum.ts';

/**
 * Maximum number of segments of one super-packet: bounds the work per frame, here or in the kernel that it is handed to.
 * UDP: Linux refuses more to its own senders (include/linux/udp.h UDP_MAX_SEGMENTS). TCP: 64 KiB in segments of 128 bytes,
 * smaller than those of any path MTU that Linux accepts (ip_rt_min_pmtu leaves 500).
 */
const MAX_UDP_SEGMENTS = 128;
const MAX_TCP_SEGMENTS = 512;

/**
 * True if nothing is pending, or only the checksum of this packet's TCP or UDP header, in that header's own checksum
 * field (anywhere else the kernel would overwrite, for example, a port after it was checked), with segmentation of the
 * same protocol into no more segments than permitted. A fragment may have neither: its checksum covers bytes in other
 * fragments.
 *
 * A checksum pending in a nested packet, of a tunnel between pods, is finished here, so that later stages need not
 * handle it.
 */
export function offloadFits(pkt: Packet): boolean {
  if (pkt.needsChecksum === 0 && pkt.gsoType === GSO_NONE) return true;
  if (pkt.outerL4 !== 0 || pkt.moreFragments !== 0 || pkt.fragmentOffset !== 0) return false;
  if (pkt.gsoType === GSO_NONE && pkt.checksumStart >= pkt.headersEnd) return finishInside(pkt);
  if (pkt.checksumStart !== pkt.l4) return false;
  const offset = checksumOffsetOf(pkt.protocol);
  if (offset < 0 || pkt.checksumOffset !== offset) return false;
  if (pkt.gsoType === GSO_NONE) return true;
  const isTcp = pkt.protocol === PROTOCOL_TCP;
  const payload = pkt.end - pkt.headersEnd;
  const most = (isTcp ? MAX_TCP_SEGMENTS : MAX_UDP_SEGMENTS) * pkt.gsoSize;
  return pkt.gsoType === (isTcp ? GSO_TCPV4 : GSO_UDP_L4) && payload > 0 && payload <= most;
}

/** Finish a checksum that lies in the payload. False if it is not inside the packet. */
function finishInside(pkt: Packet): boolean {
  const field = pkt.checksumStart + pkt.checksumOffset;
  if (field + 2 > pkt.end) return false;
  finishPendingChecksum(pkt.view, pkt.checksumStart, field, pkt.end);
  pkt.needsChecksum = 0;
  return true;
}
