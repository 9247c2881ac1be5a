/**
 * The pipeline up to a stage, in loops: the difference between two of them is the cost of a stage. The order is that of
 * pipeline.ts; bundled with the stages like the workers' pipeline (scripts/bundle.mjs).
 */
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import { isTunnelPacket, overlayOf } from '../../../native-free-dataplane/overlay/overlay.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { createFlow } from '../../../native-free-dataplane/stages/connect.ts';
import { countFlow, findFlow, trackFlow } from '../../../native-free-dataplane/stages/flow.ts';
import { guard } from '../../../native-free-dataplane/stages/guard.ts';
import { clampMss } from '../../../native-free-dataplane/stages/mss.ts';
import { rewrite } from '../../../native-free-dataplane/stages/nat.ts';
import { parseFrame } from '../../../native-free-dataplane/stages/parse.ts';
import { checkPolicy } from '../../../native-free-dataplane/stages/policy.ts';
import { hopForAddress, hopOfFlow } from '../../../native-free-dataplane/stages/route.ts';
import { chooseService, noteChoice } from '../../../native-free-dataplane/stages/service.ts';
import { lowerTtl, mayLeave } from '../../../native-free-dataplane/stages/ttl-mtu.ts';
import { transmit } from '../../../native-free-dataplane/transmit.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';

/** Writes the next frame. */
export interface Loader {
  load(): void;
}

/** Stages of a packet of an established connection, in order. */
export const ESTABLISHED = [
  'bench alone',
  'parse',
  'decapsulate, parse the inner frame',
  'guard',
  'find the flow',
  'hop',
  'TTL and MTU',
  'track',
  'count',
  'translate',
  'send',
] as const;

/** Stages of a first packet, in order. */
export const FIRST = [
  'bench alone',
  'parse, guard',
  'no flow is found',
  'choose the service and its endpoint',
  'routes, policy',
  'make the flow',
] as const;

/** Process frames with the first `level` stages of ESTABLISHED. @returns how many were dropped */
export function runEstablished(loader: Loader, pkt: Packet, dp: Dataplane, level: number, count: number): number {
  let lost = 0;
  for (let i = 0; i < count; i++) {
    loader.load();
    if (!established(pkt, dp, level)) lost++;
  }
  return lost;
}

function established(pkt: Packet, dp: Dataplane, level: number): boolean {
  if (level < 1) return true;
  if (parseFrame(pkt) !== Verdict.GO_ON) return false;
  if (level < 2) return true;
  if (pkt.inPort === 0 && isTunnelPacket(pkt, dp)) {
    if (overlayOf(dp).decapsulate(pkt, dp) !== Verdict.GO_ON) return false;
    if (parseFrame(pkt) !== Verdict.GO_ON) return false;
    if (overlayOf(dp).checkInner(pkt, dp) !== Verdict.GO_ON) return false;
  }
  if (level < 3) return true;
  if (guard(pkt, dp) !== Verdict.GO_ON) return false;
  if (level < 4) return true;
  findFlow(pkt, dp);
  if (pkt.flow < 0) return false;
  if (level < 5) return true;
  const hop = hopOfFlow(pkt, dp, pkt.direction);
  if (level < 6) return hop >= 0;
  if (mayLeave(pkt, dp, hop) !== Verdict.GO_ON) return false;
  if (level < 7) return true;
  if (trackFlow(pkt, dp) !== Verdict.GO_ON) return false;
  if (level < 8) return true;
  lowerTtl(pkt, dp, hop);
  countFlow(pkt, dp);
  if (level < 9) return true;
  rewrite(pkt, dp);
  clampMss(pkt, dp, hop);
  if (level < 10) return true;
  const verdict = transmit(pkt, dp, hop);
  return verdict === Verdict.SENT || verdict === Verdict.ENCAPSULATED || verdict === Verdict.TO_HOST;
}

/** Process frames of new connections with the first `level` stages of FIRST. @returns how many were dropped */
export function runFirst(loader: Loader, pkt: Packet, dp: Dataplane, level: number, count: number): number {
  let lost = 0;
  for (let i = 0; i < count; i++) {
    loader.load();
    if (!first(pkt, dp, level)) lost++;
  }
  return lost;
}

function first(pkt: Packet, dp: Dataplane, level: number): boolean {
  if (level < 1) return true;
  if (parseFrame(pkt) !== Verdict.GO_ON || guard(pkt, dp) !== Verdict.GO_ON) return false;
  if (level < 2) return true;
  findFlow(pkt, dp);
  if (pkt.flow >= 0) return false;
  if (level < 3) return true;
  if (chooseService(pkt, dp) !== Verdict.GO_ON) return false;
  if (level < 4) return true;
  const hop = hopForAddress(dp.node, pkt.dnat !== 0 ? pkt.newDst : pkt.dst);
  if (hop < 0 || checkPolicy(pkt, dp, hop) !== Verdict.GO_ON) return false;
  const replyHop = hopForAddress(dp.node, pkt.src);
  if (level < 5) return replyHop >= 0;
  if (createFlow(pkt, dp, hop, replyHop) !== Verdict.GO_ON) return false;
  noteChoice(pkt, dp);
  return true;
}
