/**
 * Is what the virtio-net header says about the very packet that was parsed? A kernel's header always is; a pod with raw
 * sockets may write any (PACKET_VNET_HDR). Everything behind this stage, and whoever finishes the checksum, trusts it.
 *
 * Read before editing: linux include/linux/virtio_net.h virtio_net_hdr_to_skb, Documentation/networking/checksum-offloads.rst
 * (LCO: an outer checksum is right once the inner one is finished); virtio 1.3 §5.1.6.2.
 */

import { GSO_NONE, GSO_TCPV4, GSO_UDP_L4, type Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { checksumOffsetOf, finishPendingChecksum } from '../wire/transport-checksum.ts';

/**
 * Segments that one super-packet may become: the work for a frame is bounded, here or in the kernel that it is handed to.
 * UDP as Linux refuses more to its own senders (include/linux/udp.h UDP_MAX_SEGMENTS). TCP: 64 KiB in segments of 128 bytes,
 * smaller than those of any path that Linux believes in (ip_rt_min_pmtu leaves 500).
 */
const MAX_UDP_SEGMENTS = 128;
const MAX_TCP_SEGMENTS = 512;

/**
 * True when nothing is pending, or a checksum of this packet's TCP or UDP header in the place where that header has it
 * (anywhere else the kernel would overwrite, say, a port after it was judged), and a super-packet of the same
 * protocol that can be cut, into no more pieces than permitted.
 * A fragment has neither: its checksum covers bytes that are elsewhere.
 *
 * A checksum pending deeper inside, of a tunnel between pods, is finished here: no later stage has to know of it.
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

/** Finish a checksum that lies in the payload. False when it is not inside the packet. */
function finishInside(pkt: Packet): boolean {
  const field = pkt.checksumStart + pkt.checksumOffset;
  if (field + 2 > pkt.end) return false;
  finishPendingChecksum(pkt.view, pkt.checksumStart, field, pkt.end);
  pkt.needsChecksum = 0;
  return true;
}
