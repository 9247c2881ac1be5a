/**
 * The window check of TCP tracking: what each side may send and acknowledge, learned from the segments seen.
 *
 * Linux's tcp_in_window (net/netfilter/nf_conntrack_proto_tcp.c), after G. van Rooij, "Real stateful TCP packet
 * filtering": a segment fits when, in sequence space,
 *   I    it begins no later than the receiver's window ends                sequence <= sender.maxEnd
 *   II   it ends no earlier than one window before the newest data         end  >= sender.end - receiver.maxWindow
 *   III  it acknowledges (or selectively acknowledges) only what was sent  sack <= receiver.end
 *   IV   and not something very old                                        sack >= receiver.end - max(maxWindow, 66000)
 * A segment that breaks I or III is invalid. One that breaks II or IV is old: it is forwarded but ignored. A segment
 * may begin before the window or end after it, as RFC 9293 §3.10.7.4 permits.
 *
 * Read before editing: the kernel file; RFC 9293 §3.10.7.4, RFC 7323 §2, RFC 2018.
 */
import { after, before, type Connection, Flag, StreamFlag } from './connection.ts';
import type { Segment } from './segment.ts';
import { TcpState } from './states.ts';

/** How old an acknowledgement may be at least, in bytes, however small the window (linux MAXACKWINCONST). */
const MIN_ACK_WINDOW = 66000;

export const Fit = {
  /** It fits, and the window has been updated. */
  YES: 0,
  /** It cannot be a segment of this connection. */
  NO: 1,
  /** It is old, or slightly exceeds the window: forward it without updating the window. */
  DOUBTFUL: 2,
} as const;
export type Fit = (typeof Fit)[keyof typeof Fit];

/**
 * Check a segment against the window, and update the window if it fits.
 * @param updates false for a reset whose sequence number is not exact: it must not move the window for the next one
 */
export function fitWindow(tcp: Connection, segment: Segment, updates: boolean): Fit {
  const { sender, receiver, state } = tcp;
  let { sequence, end, acknowledgment: ack } = segment;
  let sack = ack;
  if (segment.hasSack !== 0 && after(segment.sackEdge, ack) && receiver.has(StreamFlag.SACK_PERMITTED))
    sack = segment.sackEdge;

  if (sender.maxWindow === 0) {
    if (segment.syn) {
      learnFromSyn(tcp, segment);
      if (!segment.ack) return Fit.YES;
    } else {
      // The connection was picked up in the middle: take this side's position from its first segment.
      const window = segment.window << sender.shift;
      sender.end = end;
      sender.maxWindow = window === 0 ? 1 : window;
      sender.maxEnd = (end + sender.maxWindow) | 0;
      if (receiver.maxWindow === 0) {
        receiver.end = sack;
        receiver.maxEnd = sack;
      } else if (sack === ((receiver.end + 1) | 0)) {
        // The reply to a keep-alive probe, whose sequence number is one below the next byte to be sent.
        receiver.end = sack;
      }
    }
  } else if (segment.syn && (state === TcpState.SYN_SENT || state === TcpState.SYN_RECV) && after(end, sender.end)) {
    // A host that restarts the handshake uses a higher sequence number, and perhaps other options (RFC 9293 §3.4.3).
    learnFromSyn(tcp, segment);
    if (tcp.direction === 1 && !segment.ack) return Fit.YES;
  }

  // Nothing to check without ACK, with the acknowledgment number 0 that some stacks put into resets, or while nothing
  // is known of the other side (Linux compares with 0 then).
  const unknown = receiver.maxWindow === 0 && !tcp.has(Flag.PICKED_UP);
  if (!segment.ack || (segment.rst && ack === 0) || unknown) {
    ack = receiver.end;
    sack = ack;
  }
  // A reset in response to a SYN has no sequence number yet.
  if (segment.rst && sequence === 0 && state === TcpState.SYN_SENT) {
    sequence = sender.end;
    end = sequence;
  }

  const fit = checkRules(tcp, sequence, end, sack);
  if (fit === Fit.YES && updates) learn(tcp, segment, sequence, end, ack, sack);
  return fit;
}

/** Set the sender's stream from its SYN or SYN-ACK. */
function learnFromSyn(tcp: Connection, segment: Segment): void {
  const { sender, receiver } = tcp;
  sender.end = segment.end;
  sender.maxEnd = segment.end;
  sender.maxWindow = segment.window === 0 ? 1 : segment.window;
  sender.setOptions(segment.windowScale, segment.sackPermitted);
  // RFC 7323 §2.2: both sides must offer scaling, or neither uses it.
  if (tcp.direction === 1 && sender.offersScaling !== receiver.offersScaling) {
    if (sender.offersScaling) sender.ignoreScaling();
    else receiver.ignoreScaling();
  }
}

/** Check the four rules in the head of this file. */
function checkRules(tcp: Connection, sequence: number, end: number, sack: number): Fit {
  const { sender, receiver } = tcp;
  const allowed = receiver.maxWindow;
  const sent = receiver.end;
  const oldestAck = (sent - Math.max(sender.maxWindow >>> 0, MIN_ACK_WINDOW) - 1) | 0;
  const ackSent = before(sack, (sent + 1) | 0);
  const recent = after(end, (sender.end - allowed - 1) | 0);

  if (!before(sequence, (sender.maxEnd + 1) | 0)) {
    // Beyond the window by at most the largest window; some stacks do this. The receiver may accept and acknowledge it,
    // so the data counts as sent.
    const overshoot = (end - sender.maxEnd + 1) >>> 0;
    if (allowed === 0 || !recent || !after(sack, oldestAck) || overshoot > allowed >>> 0 || !ackSent) return Fit.NO;
    sender.end = end;
    sender.set(StreamFlag.UNACKNOWLEDGED);
    return Fit.DOUBTFUL;
  }
  if (!ackSent) return Fit.NO;
  if (allowed !== 0 && !recent) return Fit.DOUBTFUL;
  return after(sack, oldestAck) ? Fit.YES : Fit.DOUBTFUL;
}

/** Update both streams from an accepted segment. */
function learn(tcp: Connection, segment: Segment, sequence: number, end: number, ack: number, sack: number): void {
  const { sender, receiver } = tcp;
  // The window of a SYN is never scaled (RFC 7323 §2.2).
  const window = segment.syn ? segment.window : segment.window << sender.shift;
  const reach = (window + (sack - ack)) | 0;
  if (sender.maxWindow >>> 0 < reach >>> 0) sender.maxWindow = reach;
  if (after(end, sender.end)) {
    sender.end = end;
    sender.set(StreamFlag.UNACKNOWLEDGED);
  }
  if (segment.ack) {
    if (!sender.has(StreamFlag.ACK_SEEN)) {
      sender.maxAck = ack;
      sender.set(StreamFlag.ACK_SEEN);
    } else if (after(ack, sender.maxAck)) sender.maxAck = ack;
  }
  if (receiver.maxWindow !== 0 && after(end, sender.maxEnd)) {
    receiver.maxWindow += end - sender.maxEnd;
  }
  const allowedEnd = (sack + window) | 0;
  if (after(allowedEnd, (receiver.maxEnd - 1) | 0)) {
    receiver.maxEnd = window === 0 ? (allowedEnd + 1) | 0 : allowedEnd;
  }
  if (ack === receiver.end) receiver.clear(StreamFlag.UNACKNOWLEDGED);
  if (segment.plain) tcp.countAck(fingerprint(tcp.direction, sequence, end, ack, segment.window), segment.window);
}

/** 32-bit hash of the fields by which a repeated acknowledgement is recognised. */
function fingerprint(direction: number, sequence: number, end: number, ack: number, window: number): number {
  let mixed = Math.imul(sequence, 0x9e3779b1) ^ Math.imul(ack, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15) ^ end, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 13) ^ Math.imul((window << 1) | direction, 0x27d4eb2f)) | 0;
}

/**
 * Extend a segment, whose first fragment was forwarded, by a later fragment. Otherwise its acknowledgement would seem
 * to be for data that was never sent. A datagram is at most 64 KiB long, so a larger extension is ignored.
 * @param end one past the fragment's last sequence number
 */
export function extendSegment(tcp: Connection, end: number): void {
  const { sender } = tcp;
  if (!after(end, sender.end) || (end - sender.end) >>> 0 > 0xffff) return;
  sender.end = end;
  sender.set(StreamFlag.UNACKNOWLEDGED);
}
