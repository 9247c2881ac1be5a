/**
 * MSS clamping: the MSS option of a SYN is lowered to what the smaller of the two links can carry. No other component
 * does so by default, and many reports of the kind "only small pages load" are caused by its absence (flannel #1011,
 * cilium #34380). Path MTU messages are sent as well; clamping saves the first loss.
 *
 * Read before editing: RFC 9293 §3.7.1, RFC 6691.
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord } from '../node/config.ts';
import { hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { minHeaderBytes } from '../wire/ip.ts';
import { lowerMss, TCP_MIN_BYTES, TCP_SYN } from '../wire/tcp.ts';

/** Lower the MSS of a SYN that leaves by `hop`, if it is larger than pods and overlay can carry. */
export function clampMss(pkt: Packet, dp: Dataplane, hop: number): void {
  if (pkt.protocol !== PROTOCOL_TCP || (pkt.tcpFlags & TCP_SYN) === 0 || pkt.fragmentOffset !== 0) return;
  const podMtu = dp.node.config[NodeWord.POD_MTU];
  const hopMtu = dp.node.hops[hopAt(hop) + HopWord.MTU];
  const mtu = hopMtu < podMtu ? hopMtu : podMtu;
  // MSS excludes the network and TCP headers without options (RFC 6691 §2).
  const limit = mtu - minHeaderBytes(pkt.family) - TCP_MIN_BYTES;
  lowerMss(pkt.view, pkt.l4, pkt.headersEnd, limit, pkt.needsChecksum);
}
