/**
 * TCP conversations as text, one readable line per packet, run through the tracker. The notation is packetdrill's:
 *
 *   > S 0:0(0) win 65535 <sackOK,wscale 8>     -> SYN_SENT 120s
 *   < S. 0:0(0) ack 1 win 65535                -> SYN_RECV
 *   > . 1:1(0) ack 1 win 65535                 -> ESTABLISHED assured
 *   < R 42:42(0) win 0                         -> invalid ESTABLISHED
 *   wait 60s
 *
 * `>` is the side that opened the connection. Flags: S F R P U and `.` for ACK. Options: wscale N, sackOK,
 * sack LEFT:RIGHT (several may be given). After the arrow, all optional: the outcome if the packet was not simply
 * accepted (invalid, ignored, reopened, refused), the state after it, the remaining timeout, assured.
 */
import * as assert from 'uvu/assert';
import { TCP_WORDS } from '../../native-free-dataplane/conntrack/tcp/connection.ts';
import { Segment as TrackedSegment } from '../../native-free-dataplane/conntrack/tcp/segment.ts';
import { TCP_STATE_NAMES } from '../../native-free-dataplane/conntrack/tcp/states.ts';
import {
  TcpResult,
  tcpAssured,
  tcpNew,
  tcpPacket,
  tcpReopens,
  tcpState,
  tcpTimeoutClass,
} from '../../native-free-dataplane/conntrack/tcp/tracker.ts';
import { defaultTimeouts, TimeoutClass } from '../../native-free-dataplane/conntrack/timeouts.ts';

export interface Segment {
  /** 0 from the side that opened, 1 from the other. */
  direction: number;
  flags: number;
  sequence: number;
  payloadBytes: number;
  acknowledged: number;
  window: number;
  /** -1 = no option. */
  scale: number;
  sackPermitted: number;
  /** Blocks of the SACK option. */
  sacks: [left: number, right: number][];
}

const FLAG_LETTERS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, '.': 16, U: 32 };

/** Outcome of a packet: the tracker's result, or the change of its record if that is more specific. */
export type Outcome = 'ok' | 'invalid' | 'ignored' | 'reopened' | 'refused';

export interface Seen {
  outcome: Outcome;
  /** State after the packet, '' without an entry. */
  state: string;
  seconds: number;
  assured: boolean;
  seenReply: boolean;
  /** Direction (of Segment) that is original in the record. */
  origin: number;
}

export interface PlayerOptions {
  loose?: number;
  liberal?: number;
  timeouts?: Int32Array;
  /** Added to all sequence numbers of a direction. */
  shift?: [original: number, reply: number];
}

/** One connection's record, kept as the pipeline keeps it. */
export class TcpPlayer {
  readonly words: Int32Array = new Int32Array(TCP_WORDS + 2).fill(-559038737);
  readonly timeouts: Int32Array;
  private readonly options: PlayerOptions;
  private readonly at = 1;
  private live = false;
  private origin = 0;
  private seenReply = false;
  private assured = false;
  private nowSeconds = 0;
  private expires = 0;

  constructor(options: PlayerOptions = {}) {
    this.options = options;
    this.timeouts = options.timeouts ?? defaultTimeouts();
  }

  /** Advance the clock. */
  wait(seconds: number): void {
    this.nowSeconds += seconds;
  }

  play(segment: Segment): Seen {
    if (this.live && this.expires <= this.nowSeconds) this.live = false;
    const outcome = this.live ? this.next(segment) : this.first(segment);
    // The tracker must not write outside its own words.
    assert.is(this.words[0], -559038737);
    assert.is(this.words[TCP_WORDS + 1], -559038737);
    return this.seen(outcome);
  }

  private first(segment: Segment): Outcome {
    const { words, at } = this;
    if (tcpNew(words, at, this.tracked(segment, 0), this.options.loose ?? 1) !== TcpResult.OK) return 'invalid';
    this.live = true;
    this.origin = segment.direction;
    this.seenReply = false;
    this.assured = false;
    this.refresh();
    return 'ok';
  }

  private next(segment: Segment): Outcome {
    const { words, at } = this;
    const direction = segment.direction ^ this.origin;
    if (tcpReopens(words, at, direction, segment.flags)) {
      this.live = false;
      assert.is(this.first(segment), 'ok');
      return 'reopened';
    }
    const tracked = this.tracked(segment, direction);
    const result = tcpPacket(words, at, tracked, this.seenReply ? 1 : 0, this.options.liberal ?? 0);
    switch (result) {
      case TcpResult.INVALID:
        return 'invalid';
      case TcpResult.INVALID_CLOSING:
        this.expires = Math.min(this.expires, this.nowSeconds + this.timeout(TimeoutClass.TCP_UNACKNOWLEDGED));
        return 'invalid';
      case TcpResult.IGNORED:
        if (direction === 1) this.seenReply = true;
        return 'ignored';
      default:
    }
    this.refresh();
    if (tcpAssured(words, at, this.seenReply ? 1 : 0)) this.assured = true;
    if (direction === 1) this.seenReply = true;
    if (this.expires > this.nowSeconds) return 'ok';
    this.live = false;
    return 'refused';
  }

  private refresh(): void {
    const seenReply = this.seenReply ? 1 : 0;
    this.expires = this.nowSeconds + this.timeout(tcpTimeoutClass(this.words, this.at, seenReply, this.timeouts));
  }

  private timeout(index: number): number {
    const seconds = this.timeouts[index];
    assert.type(seconds, 'number');
    return seconds as number;
  }

  /** The segment as the tracker expects it. @param direction as the record counts it */
  private tracked(segment: Segment, direction: number): TrackedSegment {
    const shift = this.options.shift ?? [0, 0];
    const own = shift[segment.direction as 0 | 1];
    const other = shift[(1 - segment.direction) as 0 | 1];
    let highest: number | undefined;
    for (const [, right] of segment.sacks) {
      if (highest === undefined || ((right - highest) | 0) > 0) highest = right;
    }
    const { flags, window, payloadBytes, sackPermitted } = segment;
    return Object.assign(new TrackedSegment(), {
      direction,
      flags,
      sequence: (segment.sequence + own) | 0,
      acknowledgment: (flags & 16) !== 0 ? (segment.acknowledged + other) | 0 : 0,
      window,
      payloadBytes,
      windowScale: segment.scale,
      sackPermitted,
      hasSack: highest === undefined ? 0 : 1,
      sackEdge: ((highest ?? 0) + other) | 0,
    });
  }

  private seen(outcome: Outcome): Seen {
    return {
      outcome,
      state: this.live ? (TCP_STATE_NAMES[tcpState(this.words, this.at)] ?? '?') : '',
      seconds: this.live ? this.expires - this.nowSeconds : 0,
      assured: this.live && this.assured,
      seenReply: this.live && this.seenReply,
      origin: this.origin,
    };
  }
}

/** `> S 0:0(0) win 65535 <…>` → segment. @throws Error naming the line */
export function parseSegment(line: string): Segment {
  const match = /^([<>]) ([SFRPU.]*|-) (\d+):(\d+)\((\d+)\)(?: ack (\d+))?(?: win (\d+))?(?: <([^>]*)>)?$/.exec(
    line.trim(),
  );
  if (!match) throw new Error(`not a segment: ${line}`);
  const [, way, letters = '', from, to, bytes, ack, window, options = ''] = match;
  if (Number(to) - Number(from) !== Number(bytes)) throw new Error(`${from}:${to} are not ${bytes} bytes: ${line}`);
  let flags = 0;
  for (const letter of letters.replace('-', '')) flags |= FLAG_LETTERS[letter] ?? 0;
  const segment: Segment = {
    direction: way === '>' ? 0 : 1,
    flags,
    sequence: Number(from) | 0,
    payloadBytes: Number(bytes),
    acknowledged: Number(ack ?? 0) | 0,
    window: Number(window ?? 65535),
    scale: -1,
    sackPermitted: 0,
    sacks: [],
  };
  for (const option of options.split(',')) {
    const [name, value = ''] = option.trim().split(' ');
    if (name === 'wscale') segment.scale = Math.min(Number(value), 14);
    else if (name === 'sackOK') segment.sackPermitted = 1;
    else if (name === 'sack') {
      const [left = 0, right = 0] = value.split(':').map(Number);
      segment.sacks.push([left | 0, right | 0]);
    } else if (name !== '') throw new Error(`unknown option ${name}: ${line}`);
  }
  return segment;
}

/** One line of a script, for messages: the reverse of parseSegment. */
export function printSegment(segment: Segment): string {
  const letters = Object.entries(FLAG_LETTERS).flatMap(([letter, bit]) =>
    (segment.flags & bit) !== 0 ? [letter] : [],
  );
  const from = segment.sequence >>> 0;
  const options = [
    ...(segment.scale >= 0 ? [`wscale ${segment.scale}`] : []),
    ...(segment.sackPermitted !== 0 ? ['sackOK'] : []),
    ...segment.sacks.map(([left, right]) => `sack ${left >>> 0}:${right >>> 0}`),
  ];
  const ack = (segment.flags & 16) !== 0 ? ` ack ${segment.acknowledged >>> 0}` : '';
  const text = options.length > 0 ? ` <${options.join(',')}>` : '';
  return `${segment.direction === 0 ? '>' : '<'} ${letters.join('') || '-'} ${from}:${from + segment.payloadBytes}(${segment.payloadBytes})${ack} win ${segment.window}${text}`;
}

/** The lines of a handshake without options: both sides offer this window, with these initial sequence numbers. */
export function established(window: number, first = 0, second = 0): string {
  return `
    > S ${first}:${first}(0) win ${window}
    < S. ${second}:${second}(0) ack ${first + 1} win ${window}
    > . ${first + 1}:${first + 1}(0) ack ${second + 1} win ${window}   -> ESTABLISHED 86400s assured`;
}

/** Run a script and check its expectations. Empty lines and lines that begin with // are skipped. */
export function playScript(script: string, options: PlayerOptions = {}): TcpPlayer {
  const player = new TcpPlayer(options);
  for (const [index, raw] of script.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('//')) continue;
    const pause = /^wait (\d+)s$/.exec(line);
    if (pause) {
      player.wait(Number(pause[1]));
      continue;
    }
    const [text = '', expected = ''] = line.split('->');
    const seen = player.play(parseSegment(text));
    holdTo(expected.trim(), seen, `line ${index + 1}: ${line}`);
  }
  return player;
}

function holdTo(expected: string, seen: Seen, where: string): void {
  let outcome: string = 'ok';
  let assured = false;
  for (const word of expected.split(/\s+/).filter(Boolean)) {
    if (['invalid', 'ignored', 'reopened', 'refused'].includes(word)) outcome = word;
    else if (word === 'assured') assured = true;
    else if (/^\d+s$/.test(word)) assert.is(`${seen.seconds}s`, word, where);
    else assert.is(seen.state, word, where);
  }
  assert.is(seen.outcome, outcome, where);
  if (assured) assert.ok(seen.assured, `${where}: not assured`);
}
