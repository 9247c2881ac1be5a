/**
 * host-gw: no tunnel. The node's kernel routes packets to the pods of other nodes, and hands packets from them to dp0.
 * Only the source address shows which node sent a packet, so the underlay has to be trusted (docs/overlay.md).
 */
import type { Dataplane } from '../dataplane.ts';
import { NO_HOP } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { OVERLAYS } from './modes.ts';
import type { PacketOverlay } from './packet-overlay.ts';
import { podPeer } from './peers.ts';

export const hostGw: PacketOverlay = {
  overheadBytes: OVERLAYS['host-gw'].overheadBytes,
  sentAs: Verdict.ROUTED_TO_NODE,
  isTunnel: OVERLAYS['host-gw'].tunnel !== undefined,
  takesSuperPackets,
  sendsTrains,
  encapsulate,
  isTunnelPacket,
  decapsulate,
  checkInner,
  markPeer,
  isOverlayPacket,
};

function takesSuperPackets(_dp: Dataplane): boolean {
  return true;
}

function sendsTrains(_dp: Dataplane): boolean {
  return false;
}

function encapsulate(pkt: Packet, _dp: Dataplane, _hop: number): number {
  return pkt.l3;
}

function isTunnelPacket(_pkt: Packet, _dp: Dataplane): boolean {
  return false;
}

function decapsulate(_pkt: Packet, _dp: Dataplane): Verdict {
  return Verdict.GO_ON;
}

function checkInner(_pkt: Packet, _dp: Dataplane): Verdict {
  return Verdict.GO_ON;
}

/** A packet from a pod of another node, by its source address, is from here on treated like one out of a tunnel. */
function markPeer(pkt: Packet, dp: Dataplane): void {
  const hop = podPeer(pkt, dp);
  if (hop === NO_HOP) return;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
}

function isOverlayPacket(_view: DataView, _l3: number, _l4: number, _config: Int32Array): boolean {
  return false;
}
