/** Records a packet that did not arrive in its worker's ring (drops/ring.ts), as it was when it was dropped or refused. */
import { tupleAt } from '../conntrack/record.ts';
import { readTupleSource, tuplePortsAt } from '../conntrack/tuple.ts';
import type { Dataplane } from '../dataplane.ts';
import { beginDrop, DropBit, DropWord, publishDrop } from '../drops/ring.ts';
import type { Packet } from '../packet.ts';
import { ADDRESS_WORDS } from '../shared/address.ts';
import type { Verdict } from '../verdicts.ts';

/** The endpoint of a tracked connection; filled and used within one call. */
const endpoint: Int32Array = new Int32Array(ADDRESS_WORDS);

/** Note a received packet that was dropped or refused. */
export function noteDrop(pkt: Packet, dp: Dataplane, verdict: Verdict): void {
  note(pkt, dp, verdict, 0);
}

/** Note a frame that the device pkt.outPort did not accept. */
export function noteLostFrame(pkt: Packet, dp: Dataplane, verdict: Verdict): void {
  note(pkt, dp, verdict, DropBit.SENT);
}

function note(pkt: Packet, dp: Dataplane, verdict: Verdict, how: number): void {
  const ring = dp.counters.drops;
  const at = beginDrop(ring);
  ring[at + DropWord.TIME] = dp.nowMs;
  ring[at + DropWord.VERDICT] = verdict;
  ring[at + DropWord.IN_PORT] = pkt.inPort;
  ring[at + DropWord.OUT_PORT] = pkt.outPort;
  ring[at + DropWord.BYTES] = pkt.end - pkt.start;
  ring[at + DropWord.TRANSPORT] = pkt.protocol | (pkt.tcpFlags << 8) | (pkt.icmpType << 16) | (pkt.icmpCode << 24);
  ring[at + DropWord.RULE] = pkt.policyRule;
  ring[at + DropWord.PORTS] = (pkt.srcPort << 16) | pkt.dstPort;
  copyWords(pkt.src, ring, at + DropWord.SRC);
  copyWords(pkt.dst, ring, at + DropWord.DST);
  let bits = how | DropBit.RECEIVED | (pkt.tunnelled !== 0 ? DropBit.TUNNELLED : 0);
  // Before the IP header was checked, the descriptor holds addresses of an earlier packet.
  if (pkt.l4 !== 0) bits |= DropBit.ADDRESSED;
  if (pkt.flow >= 0) bits |= pkt.direction === 0 ? DropBit.TRACKED : DropBit.TRACKED | DropBit.REPLY;
  if (pkt.dnat !== 0) {
    bits |= DropBit.TRANSLATED;
    copyWords(pkt.newDst, ring, at + DropWord.NEW_DST);
    ring[at + DropWord.NEW_PORT] = pkt.newDstPort;
  } else if (pkt.flow >= 0 && pkt.direction === 0) {
    const { conntrack } = dp;
    const reply = tupleAt(conntrack, pkt.flow, 1);
    readTupleSource(conntrack, reply, endpoint);
    bits |= DropBit.TRANSLATED;
    copyWords(endpoint, ring, at + DropWord.NEW_DST);
    ring[at + DropWord.NEW_PORT] = conntrack.words[tuplePortsAt(conntrack, reply)] >>> 16;
  }
  ring[at + DropWord.BITS] = bits;
  publishDrop(ring, at);
}

function copyWords(address: Int32Array, into: Int32Array, at: number): void {
  for (let i = 0; i < ADDRESS_WORDS; i++) into[at + i] = address[i];
}
