/**
 * IPv4 fragments: the later ones carry no ports, so they follow what was learnt from the first.
 *
 * Read before editing: RFC 791 §3.2, RFC 1858 and RFC 3128 (tiny fragments), RFC 5722, RFC 4787 REQ-14 (any order).
 */
import type { Dataplane } from '../dataplane.ts';
import { FRAME_AT } from '../dataplane.ts';
import type { Packet } from '../packet.ts';
import { addDatagram, coverRange, findDatagram, holdFragment, learnPorts, portsKnown, takeHeld } from '../tables/fragments.ts';
import { Verdict } from '../verdicts.ts';

const MAX_DATAGRAM = 65535;
/** A TCP header must lie wholly in the first fragment: one at offset 8 would overwrite its flags (RFC 3128 §4). */
const PROTOCOL_TCP = 6;

function loadKey(pkt: Packet, dp: Dataplane): void {
  const { key } = dp.fragments;
  for (let i = 0; i < 4; i++) {
    key[i] = pkt.src[i];
    key[4 + i] = pkt.dst[i];
  }
  key[8] = pkt.view.getUint16(pkt.l3 + 4);
  key[9] = (pkt.protocol << 8) | pkt.family;
}

function bodyFits(pkt: Packet): Verdict {
  const bytes = pkt.end - pkt.l4;
  if (pkt.moreFragments !== 0 && (bytes & 7) !== 0) return Verdict.FRAGMENT_TINY;
  if (bytes === 0) return Verdict.FRAGMENT_TINY;
  return pkt.fragmentOffset + bytes + (pkt.l4 - pkt.l3) > MAX_DATAGRAM ? Verdict.FRAGMENT_TOO_LONG : Verdict.GO_ON;
}

/** A later fragment: its ports from the first (GO_ON), or it is held until the first comes. */
export function tellPorts(pkt: Packet, dp: Dataplane): Verdict {
  const { fragments } = dp;
  const { hash } = dp.conntrack;
  const fits = bodyFits(pkt);
  if (fits !== Verdict.GO_ON) return fits;
  if (pkt.fragmentOffset === 8 && pkt.protocol === PROTOCOL_TCP) return Verdict.FRAGMENT_TINY;
  loadKey(pkt, dp);
  let slot = findDatagram(fragments, hash, dp.nowMs);
  if (slot < 0) slot = addDatagram(fragments, hash, dp.nowMs);
  const released = fragments.ready === slot && portsKnown(fragments, slot);
  if (!released && !coverRange(fragments, slot, pkt.fragmentOffset, pkt.fragmentOffset + pkt.end - pkt.l4)) return Verdict.FRAGMENT_OVERLAP;
  if (!portsKnown(fragments, slot)) {
    return holdFragment(fragments, slot, pkt.bytes, pkt.start, pkt.end, pkt.tunnelled !== 0 ? -1 - pkt.tunnelNode : pkt.inPort)
      ? Verdict.FRAGMENT_HELD
      : Verdict.FRAGMENT_TABLE_FULL;
  }
  const ports = fragments.ports[slot];
  pkt.srcPort = ports >>> 16;
  pkt.dstPort = ports & 0xffff;
  return Verdict.GO_ON;
}

/** A first fragment whose flow is known: its ports are remembered for the others. */
export function rememberFirst(pkt: Packet, dp: Dataplane): Verdict {
  if (pkt.fragmentOffset !== 0) return Verdict.GO_ON;
  const { fragments } = dp;
  const { hash } = dp.conntrack;
  const fits = bodyFits(pkt);
  if (fits !== Verdict.GO_ON) return fits;
  loadKey(pkt, dp);
  let slot = findDatagram(fragments, hash, dp.nowMs);
  if (slot < 0) slot = addDatagram(fragments, hash, dp.nowMs);
  if (!coverRange(fragments, slot, 0, pkt.end - pkt.l4)) return Verdict.FRAGMENT_OVERLAP;
  learnPorts(fragments, slot, (pkt.srcPort << 16) | pkt.dstPort);
  return Verdict.GO_ON;
}

/** After a first fragment: the next of those that were waiting for it, in the arena as if just received. */
export function nextHeld(pkt: Packet, dp: Dataplane): boolean {
  const { fragments } = dp;
  if (fragments.ready < 0) return false;
  const length = takeHeld(fragments, pkt.bytes, FRAME_AT);
  if (length === 0) return false;
  const from = fragments.key[0];
  pkt.reset(FRAME_AT, FRAME_AT + length, from < 0 ? 0 : from);
  if (from < 0) {
    pkt.tunnelled = 1;
    pkt.tunnelNode = -1 - from;
  }
  return true;
}
