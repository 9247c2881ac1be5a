/** The outer IPv4 header of overlay packets from this node to another. */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord } from '../node/config.ts';
import { hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { ecn, NOT_ECT, writeAddresses, writeEcn } from '../wire/ip.ts';
import { emitTunnelIpv4, ipv4ConstantSum } from '../wire/ipv4.ts';

/**
 * Checksum contribution of what all outer headers from one node to another share (HopContents.outerSum). Addresses:
 * four words.
 */
export function outerSum(from: Int32Array, to: Int32Array): number {
  return ipv4ConstantSum(from[3], to[3]);
}

/**
 * Write the outer header at `l3`, for a packet that ends at pkt.end. Its checksum starts from the hop's precomputed sum
 * (HopWord.OUTER_SUM), to which only length, identification and protocol are added. The ECN field is copied from the
 * inner packet (RFC 6040 §4.1).
 */
export function writeOuterIpv4(pkt: Packet, dp: Dataplane, l3: number, hop: number, protocol: number): void {
  const { config, hops } = dp.node;
  const at = hopAt(hop);
  const identification = dp.nextIpId;
  dp.nextIpId = (identification + 1) & 0xffff;
  writeAddresses(pkt.view, l3, config, NodeWord.NODE_IP, hops, at + HopWord.ADDRESS);
  emitTunnelIpv4(pkt.view, l3, pkt.end, protocol, identification, hops[at + HopWord.OUTER_SUM]);
  const mark = ecn(pkt.view, pkt.l3);
  if (mark !== NOT_ECT) writeEcn(pkt.view, l3, mark);
}
