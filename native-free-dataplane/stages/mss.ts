/**
 * Keep TCP's segments within the path: the MSS option of a SYN is lowered to what the smaller of both links takes.
 * Nobody else does so by default, and half of the field's "works with small pages only" reports come from it
 * (flannel #1011, cilium #34380). Path MTU messages are sent as well; this only saves the first loss.
 *
 * Read before editing: RFC 9293 §3.7.1, RFC 6691.
 */

import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HopWord, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { updateChecksum16 } from '../wire/checksum.ts';
import { readTcpOptions, tcpOptions } from '../wire/tcp.ts';

const SYN = 2;
/** IPv4 and TCP headers without options: what MSS does not count (RFC 6691). */
const HEADERS_BYTES = 40;

/** Lower the MSS of a SYN that leaves by `hop`, if it is larger than pods and overlay can take. */
export function clampMss(pkt: Packet, dp: Dataplane, hop: number): void {
  if (pkt.protocol !== PROTOCOL_TCP || (pkt.tcpFlags & SYN) === 0 || pkt.fragmentOffset !== 0) return;
  const { view, l4 } = pkt;
  readTcpOptions(view, l4, pkt.headersEnd);
  const at = tcpOptions.mssOffset;
  if (at === 0) return;
  const podMtu = dp.node.config[NodeWord.POD_MTU];
  const hopMtu = dp.node.hops[hopAt(hop) + HopWord.MTU];
  const limit = (hopMtu < podMtu ? hopMtu : podMtu) - HEADERS_BYTES;
  const mss = view.getUint16(at);
  if (mss <= limit) return;
  view.setUint16(at, limit);
  if (pkt.needsChecksum !== 0) return;
  const sum = view.getUint16(l4 + 16);
  // An option may lie at an odd offset: its value then straddles two words of the sum, which swaps its bytes.
  if (((at - l4) & 1) === 0) view.setUint16(l4 + 16, updateChecksum16(sum, mss, limit));
  else view.setUint16(l4 + 16, updateChecksum16(sum, swap(mss), swap(limit)));
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >> 8);
}
