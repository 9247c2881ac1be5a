/** The view of a connection's record: every field has bits of its own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  Connection,
  Flag,
  StreamFlag,
  stateOf,
  TCP_WORDS,
  tcpBits,
} from '../../../../native-free-dataplane/conntrack/tcp/connection.ts';
import { Kind } from '../../../../native-free-dataplane/conntrack/tcp/segment.ts';
import { TcpState } from '../../../../native-free-dataplane/conntrack/tcp/states.ts';

const words = new Int32Array(TCP_WORDS + 2);
const tcp = new Connection();

/** Every field of the view, by name. */
function fields(direction: number): Record<string, unknown> {
  tcp.open(words, 1, direction);
  const result: Record<string, unknown> = {
    state: tcp.state,
    last: tcp.last,
    lastKind: tcp.lastKind,
    lastDirection: tcp.lastDirection,
  };
  for (const [name, flag] of Object.entries(Flag)) result[name] = tcp.has(flag);
  for (const [side, stream] of [
    ['original', tcp.original],
    ['reply', tcp.reply],
  ] as const) {
    const { end, maxEnd, maxWindow, maxAck, shift, offersScaling } = stream;
    Object.assign(result, {
      [`${side} numbers`]: [end, maxEnd, maxWindow, maxAck].join(),
      [`${side} scaling`]: `${offersScaling} ${shift}`,
    });
    for (const [name, flag] of Object.entries(StreamFlag)) result[`${side} ${name}`] = stream.has(flag);
  }
  return result;
}

/** Fields that differ after the change. */
function changedBy(direction: number, change: () => void): string[] {
  const before = fields(direction);
  change();
  const after = fields(direction);
  return Object.keys(after).filter((name) => after[name] !== before[name]);
}

test('a flag of the connection changes no other field', () => {
  for (const filler of [0, -1]) {
    for (const [name, flag] of Object.entries(Flag)) {
      words.fill(filler);
      assert.equal(
        changedBy(0, () => (filler === 0 ? tcp.set(flag) : tcp.clear(flag))),
        [name],
      );
    }
  }
});

test('a flag of a stream changes no other field, and not the other stream', () => {
  for (const filler of [0, -1]) {
    for (const [name, flag] of Object.entries(StreamFlag)) {
      for (const side of ['original', 'reply'] as const) {
        words.fill(filler);
        assert.equal(
          changedBy(0, () => (filler === 0 ? tcp[side].set(flag) : tcp[side].clear(flag))),
          [`${side} ${name}`],
        );
      }
    }
  }
});

test('sender and receiver depend on the direction', () => {
  words.fill(0);
  assert.equal(
    changedBy(0, () => {
      tcp.sender.end = 7;
    }),
    ['original numbers'],
  );
  assert.equal(
    changedBy(1, () => {
      tcp.sender.end = 7;
    }),
    ['reply numbers'],
  );
  assert.equal(
    changedBy(1, () => {
      tcp.receiver.maxEnd = 7;
    }),
    ['original numbers'],
  );
});

test('accepting a segment sets the state, the last segment and the flags given, and nothing else', () => {
  words.fill(0);
  const changed = changedBy(1, () => tcp.accept(Kind.FIN, TcpState.FIN_WAIT, Flag.HANDSHAKE_DONE));
  assert.equal(changed.sort(), ['HANDSHAKE_DONE', 'lastDirection', 'lastKind', 'state']);
  assert.is(stateOf(tcpBits(words, 1)), TcpState.FIN_WAIT);
  assert.ok(tcp.senderSentLast(Kind.FIN));
  assert.not.ok(tcp.receiverSentLast(Kind.FIN));
});

test('the options of an unconfirmed SYN are stored in place of the retransmission count, and are adopted unchanged', () => {
  for (const scale of [-1, 0, 7, 14]) {
    for (const sack of [0, 1]) {
      words.fill(0);
      tcp.open(words, 1, 0);
      tcp.noteLast(Kind.SYN);
      assert.equal(
        changedBy(0, () => tcp.keepOptions(scale, sack)),
        [],
      );
      tcp.adoptOptions();
      assert.is(tcp.original.offersScaling, scale >= 0);
      assert.is(tcp.original.shift, Math.max(scale, 0));
      assert.is(tcp.original.has(StreamFlag.SACK_PERMITTED), sack === 1);
    }
  }
});

test('the view touches only its ten words', () => {
  words.fill(-559038737);
  for (const direction of [0, 1]) {
    tcp.open(words, 1, direction);
    tcp.begin(TcpState.SYN_SENT, Kind.SYN);
    tcp.sender.setOptions(7, 1);
    tcp.reply.reset();
    tcp.last = 1;
  }
  assert.is(words[0], -559038737);
  assert.is(words[TCP_WORDS + 1], -559038737);
});

test.run();
