/** The outer IPv4 header of a tunnel, from this node to another. */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HopWord, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';

/**
 * Write the outer header at `l3`; the packet it heads ends where pkt does. What is the same for every packet to a node is
 * summed once in its hop (HopWord.OUTER_SUM): per packet a length, an identification and the protocol are added.
 */
export function writeOuterIpv4(pkt: Packet, dp: Dataplane, l3: number, hop: number, protocol: number): void {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = hopAt(hop);
  const bytes = pkt.end - l3;
  const identification = dp.nextIpId;
  dp.nextIpId = (identification + 1) & 0xffff;
  view.setUint32(l3, 0x45000000 | bytes);
  view.setUint32(l3 + 4, ((identification << 16) | 0x4000) >>> 0);
  view.setUint16(l3 + 8, 0x4000 | protocol);
  let sum = hops[at + HopWord.OUTER_SUM] + protocol + bytes + identification;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(l3 + 10, ~sum & 0xffff);
  view.setInt32(l3 + 12, config[NodeWord.NODE_IP + 3]);
  view.setInt32(l3 + 16, hops[at + HopWord.ADDRESS + 3]);
}
