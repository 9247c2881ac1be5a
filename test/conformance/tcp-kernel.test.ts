/**
 * The tracker against its model: the same random conversations through nf_conntrack of the running kernel and through
 * ours. After every packet both must agree on pass or drop, state, timeout, whether a reply was seen, and assured.
 * Needs root, TUN and nft; skipped without.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Conversation } from '../lib/frames/tcp-generator.ts';
import { KernelConntrack, type KernelView } from '../lib/kernel/conntrack.ts';
import { times } from '../lib/long-form.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { printSegment, type Seen, type Segment, TcpPlayer } from '../lib/tcp-script.ts';
import { testUnless } from '../lib/test-unless.ts';

const CONVERSATIONS = Number(process.env.TCP_CONVERSATIONS ?? times(120, 1000));
const PACKETS = 24;
const LONG_LIVED: ReadonlySet<string> = new Set(['ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT']);
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const SEED = Number(process.env.TCP_SEED ?? 1);

function openKernel(): KernelConntrack | undefined {
  if (process.getuid?.() !== 0) return undefined;
  try {
    return new KernelConntrack(`dpt-tcp-${process.pid}`);
  } catch {
    return undefined;
  }
}

/** Intended differences (tcp/tracker.ts, tcp/reset.ts): neither such a packet nor later ones are compared. */
function differsOnPurpose(
  before: Seen | undefined,
  after: Seen,
  segment: Segment,
  strayed: boolean,
  seen: boolean,
): boolean {
  // What one side acknowledges is not checked before the other side was seen; the kernel compares it with 0.
  if (before?.state && !seen && segment.direction === before.origin && (segment.flags & ACK) !== 0) return true;
  const isReset = (segment.flags & RST) !== 0;
  if (isReset && strayed) return true;
  switch (before?.state) {
    case 'CLOSE':
      return (segment.flags & (SYN | RST | ACK)) === SYN;
    case 'SYN_SENT':
      return isReset && before.seenReply;
    case 'SYN_SENT2':
      return isReset;
    default:
      return after.state === 'ESTABLISHED' && !after.assured;
  }
}

/**
 * Packets with the same result that update the two differently: an inexact reset, and a FIN or reset from outside the
 * window of a connection that is assured but neither established nor half closed.
 */
function endsComparison(after: Seen, segment: Segment): boolean {
  const ends = (segment.flags & (FIN | RST)) !== 0;
  if (ends && after.outcome === 'invalid') return after.assured && !LONG_LIVED.has(after.state);
  return (segment.flags & RST) !== 0 && after.state === 'ESTABLISHED' && after.outcome === 'ok';
}

/** Both forward a reset, but only one accepts it: they decide differently whether it directly followed data. */
function acceptanceDiffers(ours: Seen, kernel: KernelView, segment: Segment): boolean {
  const accepted = (state: string): boolean => state === 'CLOSE';
  return (
    (segment.flags & RST) !== 0 &&
    ours.outcome === 'ok' &&
    kernel.passed &&
    accepted(ours.state) !== accepted(kernel.state) &&
    (ours.state === 'ESTABLISHED' || kernel.state === 'ESTABLISHED')
  );
}

function compare(ours: Seen, kernel: KernelView, isReset: boolean, description: string): void {
  assert.is(ours.outcome === 'invalid' ? 'dropped' : 'passed', kernel.passed ? 'passed' : 'dropped', description);
  assert.is(ours.state, kernel.state, description);
  assert.is(ours.assured, kernel.assured, `assured\n${description}`);
  assert.is(ours.seenReply, kernel.seenReply, `seen reply\n${description}`);
  if (ours.state !== '') assert.is(ours.origin, kernel.origin, description);
  // An inexact reset leaves ours a longer timeout (tcp/tracker.ts).
  if (isReset && ours.state === 'ESTABLISHED' && ours.outcome === 'ok') return;
  const seconds = Math.abs(ours.seconds - kernel.seconds);
  assert.ok(seconds <= 2, `ours ${ours.seconds} s, kernel ${kernel.seconds} s\n${description}`);
}

const kernel = openKernel();

const why = kernel ? undefined : 'the connection table of the kernel cannot be used here';

testUnless(why)(`random conversations, seed ${SEED}: the kernel's conntrack gives the same results`, () => {
  if (!kernel) return;
  const states = new Map<string, number>();
  let compared = 0;
  try {
    const random = seededRandom(SEED);
    for (let i = 0; i < CONVERSATIONS; i++) {
      const conversation = new Conversation(random, true);
      const player = new TcpPlayer();
      const lines: string[] = [];
      let before: Seen | undefined;
      const strayed = [false, false];
      let seen = false;
      kernel.begin();
      for (let step = 0; step < PACKETS; step++) {
        const segment = conversation.segment();
        const ours = player.play(segment);
        const theirs = kernel.play(segment);
        lines.push(
          `${printSegment(segment)}   -> ours ${ours.outcome} ${ours.state} ${ours.seconds}s ${JSON.stringify(theirs)}`,
        );
        if (
          differsOnPurpose(before, ours, segment, strayed[segment.direction] === true, seen) ||
          acceptanceDiffers(ours, theirs, segment)
        )
          break;
        compare(ours, theirs, (segment.flags & RST) !== 0, `conversation ${i}\n${lines.join('\n')}`);
        if (ours.outcome === 'reopened' || ours.state === '') seen = false;
        else if (ours.outcome === 'ok' && segment.direction !== ours.origin) seen = true;
        if (ours.outcome === 'ignored' && (segment.flags & SYN) !== 0) strayed[segment.direction] = true;
        if (endsComparison(ours, segment)) break;
        before = ours;
        compared++;
        states.set(ours.state, (states.get(ours.state) ?? 0) + 1);
      }
    }
  } finally {
    kernel.close();
  }
  assert.ok(compared > CONVERSATIONS, `${compared} packets compared`);
  if (process.env.TCP_VERBOSE) console.log(compared, Object.fromEntries(states));
});

test.run();
