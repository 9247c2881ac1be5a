/**
 * host-gw: no tunnel. Packets for another node's pods are handed to the node's kernel, whose routes lead there; what
 * arrives from another node is handed over by the kernel like anything else. Only its source address shows which node sent
 * a packet: the underlay has to be trusted (docs/overlay.md).
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
  isTunnel: false,
  takesSuperPackets,
  encapsulate,
  isTunnelPacket,
  decapsulate,
  checkInner,
  markPeer,
  isQuoted,
};

function takesSuperPackets(_dp: Dataplane): boolean {
  return true;
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

/** A pod of another node's, by its source: from here on the packet is treated as one out of a tunnel. */
function markPeer(pkt: Packet, dp: Dataplane): void {
  const hop = podPeer(pkt, dp);
  if (hop === NO_HOP) return;
  pkt.tunnelled = 1;
  pkt.tunnelNode = hop;
}

function isQuoted(_view: DataView, _l3: number, _l4: number, _config: Int32Array): boolean {
  return false;
}
