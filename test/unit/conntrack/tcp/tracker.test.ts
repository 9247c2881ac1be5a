/** Properties of the tracker that hold for any packets, and details that are not visible in conversations. For scripts of whole
 * conversations see test/conformance/tcp-*.test.ts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_WORDS } from '../../../../native-free-dataplane/conntrack/tcp/connection.ts';
import { Kind, kindOf, Segment, validTcpFlags } from '../../../../native-free-dataplane/conntrack/tcp/segment.ts';
import {
  IGNORE,
  INVALID_STATE,
  nextState,
  TCP_STATE_NAMES,
  TcpState,
} from '../../../../native-free-dataplane/conntrack/tcp/states.ts';
import {
  TcpResult,
  tcpNew,
  tcpPacket,
  tcpState,
  tcpTimeoutClass,
} from '../../../../native-free-dataplane/conntrack/tcp/tracker.ts';
import { defaultTimeouts, TIMEOUT_NAMES, TimeoutClass } from '../../../../native-free-dataplane/conntrack/timeouts.ts';
import { Conversation } from '../../../lib/frames/tcp-generator.ts';
import { seededRandom } from '../../../lib/seeded-random.ts';
import { playScript, printSegment, type Seen, TcpPlayer } from '../../../lib/tcp-script.ts';

test('the table names a state, IGNORE or INVALID for every direction, kind and state', () => {
  for (let direction = 0; direction < 2; direction++) {
    for (const kind of Object.values(Kind)) {
      for (const state of Object.values(TcpState)) {
        const next = nextState(direction, kind, state);
        assert.ok(
          next === IGNORE || next === INVALID_STATE || (next >= TcpState.SYN_SENT && next <= TcpState.SYN_SENT2),
        );
        if (kind === Kind.NONE) assert.is(next, INVALID_STATE);
        if (kind === Kind.RST && state !== TcpState.NONE) assert.is(next, TcpState.CLOSE);
      }
    }
  }
  assert.is(TCP_STATE_NAMES.length, Object.keys(TcpState).length);
});

test('flags: nine combinations are valid, each with and without PSH, with any ECN flags', () => {
  let valid = 0;
  for (let flags = 0; flags < 256; flags++) if (validTcpFlags(flags)) valid++;
  assert.is(valid, 9 * 2 * 4);
  assert.is(kindOf(2), Kind.SYN);
  assert.is(kindOf(2 | 16), Kind.SYN_ACK);
  assert.is(kindOf(1 | 16), Kind.FIN);
  assert.is(kindOf(4 | 16), Kind.RST);
  assert.is(kindOf(8 | 16), Kind.ACK);
  assert.is(kindOf(8), Kind.NONE);
});

test('timeouts: one name and one default for each class, including kube-proxy’s two', () => {
  const timeouts = defaultTimeouts();
  assert.is(timeouts.length, Object.keys(TimeoutClass).length);
  assert.is(TIMEOUT_NAMES.length, timeouts.length);
  assert.is(timeouts[TimeoutClass.TCP_ESTABLISHED], 86400);
  assert.is(timeouts[TimeoutClass.TCP_CLOSE_WAIT], 3600);
  for (const state of Object.values(TcpState)) {
    if (state !== TcpState.NONE)
      assert.is(TIMEOUT_NAMES[state], `tcp-${TCP_STATE_NAMES[state]?.toLowerCase().replace('_', '-')}`);
  }
  defaultTimeouts()[0] = 7;
  assert.is(timeouts[0], 0);
});

test('unacknowledged data does not lengthen a shorter timeout set by the operator', () => {
  const words = new Int32Array(TCP_WORDS);
  const timeouts = defaultTimeouts();
  const data = { flags: 16, sequence: 100, acknowledgment: 200, window: 1000, payloadBytes: 10 };
  tcpNew(words, 0, Object.assign(new Segment(), data), 1);
  assert.is(tcpTimeoutClass(words, 0, 0, timeouts), TimeoutClass.TCP_UNACKNOWLEDGED);
  timeouts[TimeoutClass.TCP_ESTABLISHED] = 100;
  assert.is(tcpTimeoutClass(words, 0, 0, timeouts), TimeoutClass.TCP_ESTABLISHED);
});

test('a picked-up connection that starts over has its window checked in both directions', () => {
  playScript(`
    > . 1000:1000(0) ack 5000 win 1000        -> ESTABLISHED
    < . 90000:90010(10) ack 1000 win 1000     -> ESTABLISHED
    > S 9000:9000(0) win 1000                 -> ignored ESTABLISHED
    < S. 200:200(0) ack 9001 win 1000         -> SYN_RECV
    > . 9001:9001(0) ack 201 win 1000         -> ESTABLISHED
    < . 900000:900010(10) ack 9001 win 1000   -> invalid ESTABLISHED
    > . 900000:900010(10) ack 201 win 1000    -> invalid ESTABLISHED
  `);
});

/** Run the same conversation and record everything that is visible of it. */
function transcript(seed: number, packets: number, shift: [number, number]): { seen: Seen[]; lines: string[] } {
  const conversation = new Conversation(seededRandom(seed), false);
  const player = new TcpPlayer({ shift });
  const seen: Seen[] = [];
  const lines: string[] = [];
  for (let i = 0; i < packets; i++) {
    const segment = conversation.segment();
    seen.push(player.play(segment));
    lines.push(`${printSegment(segment)}   -> ${JSON.stringify(seen.at(-1))}`);
  }
  return { seen, lines };
}

test('results do not depend on the initial sequence numbers or on their wrap', () => {
  const random = seededRandom(20240229);
  const reached = new Set<string>();
  for (let seed = 0; seed < 3000; seed++) {
    const plain = transcript(seed, 30, [0, 0]);
    const shifted = transcript(seed, 30, [random.word() | 0, random.word() | 0]);
    for (const [i, seen] of plain.seen.entries()) {
      reached.add(seen.state);
      assert.equal(shifted.seen[i], seen, `seed ${seed}\n${plain.lines.slice(0, i + 1).join('\n')}`);
    }
  }
  assert.equal([...reached].sort(), ['', ...TCP_STATE_NAMES.slice(1)].sort());
});

test('arbitrary numbers: never throws, the state is one of the ten, a result one of the five', () => {
  const random = seededRandom(4711);
  const words = new Int32Array(TCP_WORDS + 2);
  const results = new Set<number>(Object.values(TcpResult));
  const timeouts = defaultTimeouts();
  const segment = new Segment();
  const odd = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 65535, 65536];
  const number = (): number => (random.below(3) === 0 ? (odd[random.below(odd.length)] as number) : random.word() | 0);
  for (let i = 0; i < 200_000; i++) {
    // Sometimes a record with random contents, as a crash might leave.
    if (i % 1000 === 0) for (let w = 0; w < words.length; w++) words[w] = number();
    const state = tcpState(words, 1);
    Object.assign(segment, {
      direction: random.below(2),
      flags: random.below(256),
      sequence: number(),
      acknowledgment: number(),
      window: random.below(65536),
      payloadBytes: random.below(65536),
      windowScale: random.below(16) - 1,
      sackPermitted: random.below(2),
      hasSack: random.below(2),
      sackEdge: number(),
    });
    const result =
      random.below(50) === 0
        ? tcpNew(words, 1, segment, random.below(2))
        : tcpPacket(words, 1, segment, random.below(2), random.below(2));
    assert.ok(results.has(result));
    if (state <= TcpState.SYN_SENT2) assert.ok(tcpState(words, 1) <= TcpState.SYN_SENT2);
    const timeout = tcpTimeoutClass(words, 1, random.below(2), timeouts);
    if (state <= TcpState.SYN_SENT2)
      assert.ok(timeout >= 0 && timeout <= TimeoutClass.TCP_UNACKNOWLEDGED, `class ${timeout}`);
  }
});

test('a segment that is not OK changes neither state nor timeout', () => {
  for (let seed = 0; seed < 500; seed++) {
    const { seen, lines } = transcript(seed, 30, [0, 0]);
    for (const [i, now] of seen.entries()) {
      const before = seen[i - 1];
      if (!before || (now.outcome !== 'invalid' && now.outcome !== 'ignored')) continue;
      assert.is(now.state, before.state, lines.slice(0, i + 1).join('\n'));
      assert.ok(now.seconds <= before.seconds, lines.slice(0, i + 1).join('\n'));
    }
  }
});

test.run();
