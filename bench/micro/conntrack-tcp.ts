/**
 * Cost of tracking per segment of an established connection, in both directions of a bulk transfer, and of a whole
 * short connection.
 */
import Benchmark from 'benchmark';
import { TCP_WORDS } from '../../native-free-dataplane/conntrack/tcp/connection.ts';
import { segment } from '../../native-free-dataplane/conntrack/tcp/segment.ts';
import { tcpNew, tcpPacket, tcpTimeoutClass } from '../../native-free-dataplane/conntrack/tcp/tracker.ts';
import { defaultTimeouts } from '../../native-free-dataplane/conntrack/timeouts.ts';

const FIN = 1;
const SYN = 2;
const ACK = 16;
/** Flows taken in turn, so that their records do not all stay in the nearest cache. */
const FLOWS = 4096;
const RECORD_WORDS = 32;
const words = new Int32Array(FLOWS * RECORD_WORDS);
const timeouts = defaultTimeouts();

function fill(direction: number, flags: number, sequence: number, acknowledgment: number, window: number): void {
  segment.direction = direction;
  segment.flags = flags;
  segment.sequence = sequence;
  segment.acknowledgment = acknowledgment;
  segment.window = window;
  segment.payloadBytes = 0;
  segment.windowScale = -1;
  segment.sackPermitted = 0;
  segment.hasSack = 0;
  segment.sackEdge = 0;
}

function offerOptions(): void {
  segment.windowScale = 7;
  segment.sackPermitted = 1;
}

function handshake(at: number): void {
  fill(0, SYN, 0, 0, 64240);
  offerOptions();
  tcpNew(words, at, segment, 1);
  fill(1, SYN | ACK, 0, 1, 65160);
  offerOptions();
  tcpPacket(words, at, segment, 1, 0);
  fill(0, ACK, 1, 1, 502);
  tcpPacket(words, at, segment, 1, 0);
}

for (let flow = 0; flow < FLOWS; flow++) handshake(flow * RECORD_WORDS);
let turn = 0;
let sent = 1;
let classes = 0;

export const suite: Benchmark.Suite = new Benchmark.Suite()
  .add('segment and its acknowledgement, with timeouts', () => {
    turn = (turn + 1) % FLOWS;
    if (turn === 0) sent = (sent + 1448) | 0;
    const at = turn * RECORD_WORDS;
    fill(0, ACK, sent, 1, 502);
    segment.payloadBytes = 1448;
    tcpPacket(words, at, segment, 1, 0);
    classes += tcpTimeoutClass(words, at, 1, timeouts);
    fill(1, ACK, 1, (sent + 1448) | 0, 509);
    tcpPacket(words, at, segment, 1, 0);
    classes += tcpTimeoutClass(words, at, 1, timeouts);
  })
  .add('handshake and close', () => {
    handshake(FLOWS * RECORD_WORDS - TCP_WORDS);
    const at = FLOWS * RECORD_WORDS - TCP_WORDS;
    fill(0, FIN | ACK, 1, 1, 502);
    tcpPacket(words, at, segment, 1, 0);
    fill(1, FIN | ACK, 1, 2, 509);
    tcpPacket(words, at, segment, 1, 0);
    fill(0, ACK, 2, 2, 502);
    tcpPacket(words, at, segment, 1, 0);
  })
  .on('complete', () => {
    if (classes < 0) throw new Error('unreachable');
  });
