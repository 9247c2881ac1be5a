/**
 * IPv4 fragments. Only the first fragment of a datagram has ports; the later ones inherit them and so find the same
 * flow. Later fragments that arrive before the first are held until it comes. Datagrams are not reassembled.
 *
 * Read before editing: RFC 791 §3.2, RFC 1858 and RFC 3128 (tiny fragments), RFC 5722, RFC 4787 REQ-14 (any order).
 */
import type { Dataplane } from '../dataplane.ts';
import { FRAME_AT } from '../dataplane.ts';
import { countUnseenDrop } from '../drops/ring.ts';
import {
  expireFragments,
  FragmentResult,
  fragmentFirst,
  fragmentForget,
  fragmentLater,
  fragmentPorts,
  takeHeld,
} from '../fragments/table.ts';
import { overlayOf } from '../overlay/overlay.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { ADDRESS_WORDS } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { fragmentIdentification, readAddresses } from '../wire/ip.ts';
import { IPV4_MAX_BYTES } from '../wire/ipv4.ts';
import { flagsInSequence, tcpSequence } from '../wire/tcp.ts';

/** A fragment at this offset would overwrite the TCP flags of the first fragment (RFC 3128 §4). */
const INSIDE_TCP_HEADER = 8;

/** Addresses of the packet; filled and used within one call. */
const source: Int32Array = new Int32Array(ADDRESS_WORDS);
const destination: Int32Array = new Int32Array(ADDRESS_WORDS);

/**
 * Fill the fragment table's key with the packet's datagram: addresses, identification, protocol (RFC 791 §3.2). The
 * addresses are the packet's own: pkt.src of a first fragment may be the address by which its flow is found (flow.ts).
 */
function loadKey(pkt: Packet, dp: Dataplane): void {
  const { key } = dp.fragments;
  readAddresses(pkt.view, pkt.l3, source, destination);
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    key[i] = source[i];
    key[ADDRESS_WORDS + i] = destination[i];
  }
  key[8] = fragmentIdentification(pkt.view, pkt.l3);
  key[9] = (pkt.protocol << 8) | pkt.family;
}

/** Verdict for a result of the fragment table other than FOUND. */
function refusal(result: FragmentResult): Verdict {
  switch (result) {
    case FragmentResult.HELD:
      return Verdict.FRAGMENT_HELD;
    case FragmentResult.FULL:
      return Verdict.FRAGMENT_TABLE_FULL;
    case FragmentResult.TOO_LONG:
      return Verdict.FRAGMENT_TOO_LONG;
    case FragmentResult.MALFORMED:
      return Verdict.FRAGMENT_LENGTH;
    case FragmentResult.DUPLICATE:
      return Verdict.FRAGMENT_DUPLICATE;
    default:
      return Verdict.FRAGMENT_OVERLAP;
  }
}

/** Would the whole datagram, header included, be longer than IPv4 allows (RFC 791: total length)? */
function isTooLong(pkt: Packet): boolean {
  return pkt.fragmentOffset + (pkt.end - pkt.l3) > IPV4_MAX_BYTES;
}

/**
 * Set the ports of a later fragment. Its range is recorded only when it is about to leave (recordFragment), or here if it
 * has to wait for the first fragment: one that is dropped must not make its retransmission a duplicate.
 * @param mayWait false if its time to live ends here wherever it goes
 * @returns GO_ON with pkt.srcPort, dstPort and tupleKind set; FRAGMENT_HELD if the first has not arrived; or the reason
 *   to drop
 */
export function inheritPorts(pkt: Packet, dp: Dataplane, mayWait: boolean): Verdict {
  const { fragments } = dp;
  if (isTooLong(pkt)) return Verdict.FRAGMENT_TOO_LONG;
  if (pkt.fragmentOffset === INSIDE_TCP_HEADER && pkt.protocol === PROTOCOL_TCP) return Verdict.FRAGMENT_TINY;
  loadKey(pkt, dp);
  if (!fragmentPorts(fragments, dp.worker, dp.nowMs)) {
    if (!mayWait) return Verdict.TTL_EXCEEDED;
    const v = recordLater(pkt, dp, 1);
    if (v !== Verdict.GO_ON) return v;
  }
  const { fragment } = fragments;
  pkt.srcPort = fragment.ports >>> 16;
  pkt.dstPort = fragment.ports & 0xffff;
  if (pkt.protocol !== PROTOCOL_TCP) pkt.tupleKind = fragment.sequence;
  return Verdict.GO_ON;
}

/**
 * Record the range of a later fragment, with a copy of it if the first has not come.
 * @param holds 1 to do nothing if the first has come meanwhile
 */
function recordLater(pkt: Packet, dp: Dataplane, holds: number): Verdict {
  const { fragments } = dp;
  loadKey(pkt, dp);
  const { fragment } = fragments;
  fragment.from = pkt.fragmentOffset;
  fragment.to = pkt.fragmentOffset + pkt.end - pkt.l4;
  fragment.more = pkt.moreFragments;
  fragment.holds = holds;
  fragment.start = pkt.start;
  fragment.end = pkt.end;
  // How to process the fragment again when it is released. One out of a tunnel is stored without the outer headers, so
  // it cannot be decapsulated again: store the node it came from (negative). Otherwise store the receiving port.
  fragment.tag = pkt.tunnelled !== 0 && overlayOf(dp).isTunnel ? -1 - pkt.tunnelNode : pkt.inPort;
  const result = fragmentLater(fragments, dp.worker, dp.nowMs, pkt.bytes);
  countAbandoned(dp);
  return result === FragmentResult.FOUND ? Verdict.GO_ON : refusal(result);
}

/**
 * A fragment is about to leave: record it, the first one with its ports for the later ones. The packet must not have been
 * translated yet.
 */
export function recordFragment(pkt: Packet, dp: Dataplane): Verdict {
  return pkt.fragmentOffset !== 0 ? recordLater(pkt, dp, 0) : rememberFirst(pkt, dp);
}

/** Is it a fragment, first or later? */
export function isFragment({ moreFragments, fragmentOffset }: Packet): boolean {
  return moreFragments !== 0 || fragmentOffset !== 0;
}

/** Store the ports of a first fragment for the later ones. The packet must not have been translated yet. */
function rememberFirst(pkt: Packet, dp: Dataplane): Verdict {
  if (isTooLong(pkt)) return Verdict.FRAGMENT_TOO_LONG;
  loadKey(pkt, dp);
  const { fragment } = dp.fragments;
  fragment.from = 0;
  fragment.to = pkt.end - pkt.l4;
  fragment.more = pkt.moreFragments;
  fragment.ports = (pkt.srcPort << 16) | pkt.dstPort;
  fragment.sequence = pkt.protocol === PROTOCOL_TCP ? sequenceAtHeader(pkt) : pkt.tupleKind;
  const result = fragmentFirst(dp.fragments, dp.worker, dp.nowMs);
  countAbandoned(dp);
  return result === FragmentResult.FOUND ? Verdict.GO_ON : refusal(result);
}

/** Undo rememberFirst for a packet that is dropped after all, so that no later fragment is sent without the first. */
export function forgetFirst(pkt: Packet, dp: Dataplane): void {
  if (pkt.fragmentOffset !== 0) return;
  loadKey(pkt, dp);
  fragmentForget(dp.fragments, dp.worker);
  countAbandoned(dp);
}

/** Give up expired datagrams. Called periodically, because otherwise only a new fragment does it. */
export function expireHeld(dp: Dataplane): void {
  expireFragments(dp.fragments, dp.worker, dp.nowMs);
  countAbandoned(dp);
}

/** Count held fragments that were given up: every received frame ends in exactly one verdict. */
function countAbandoned(dp: Dataplane): void {
  const { fragments, counters } = dp;
  for (; fragments.abandoned > 0; fragments.abandoned--)
    countUnseenDrop(counters, Verdict.FRAGMENT_FIRST_MISSING, dp.nowMs);
}

/**
 * Base for sequence numbers of the segment's fragments: a fragment that ends at byte n of the datagram's payload (TCP
 * header included) ends at sequence number base + n. SYN and FIN take one sequence number each.
 */
function sequenceAtHeader(pkt: Packet): number {
  const { view, l4, headersEnd, tcpFlags } = pkt;
  return (tcpSequence(view, l4) - (headersEnd - l4) + flagsInSequence(tcpFlags)) | 0;
}

/**
 * After a first fragment: copy the next fragment that was held for it into the arena, and reset the descriptor to it.
 * @returns false if none is left
 */
export function nextHeld(pkt: Packet, dp: Dataplane): boolean {
  const { fragments } = dp;
  if (fragments.ready < 0) return false;
  const length = takeHeld(fragments, dp.worker, pkt.bytes, FRAME_AT);
  if (length === 0) return false;
  const from = fragments.tag;
  pkt.reset(FRAME_AT, FRAME_AT + length, Math.max(from, 0));
  if (from < 0) {
    pkt.tunnelled = 1;
    pkt.tunnelNode = -1 - from;
  }
  return true;
}
