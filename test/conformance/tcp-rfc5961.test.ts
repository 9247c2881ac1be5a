/**
 * Blind attacks (RFC 5961, CVE-2016-5696) and stray segments of healthy connections (kubernetes #74839): a packet from
 * a sender who does not know the sequence numbers must have no effect.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { seededRandom } from '../lib/seeded-random.ts';
import { parseSegment, playScript, type Segment, TcpPlayer } from '../lib/tcp-script.ts';

const ESTABLISHED = `
    > S 1000:1000(0) win 64240 <sackOK,wscale 7>
    < S. 5000:5000(0) ack 1001 win 65160 <sackOK,wscale 7>
    > . 1001:1001(0) ack 5001 win 502
    > P. 1001:1101(100) ack 5001 win 502
    < . 5001:5001(0) ack 1101 win 509
    < P. 5001:6001(1000) ack 1101 win 509
    > . 1101:1101(0) ack 6001 win 502         -> ESTABLISHED 86400s assured`;

test('§3.2: a reset in the window but not exact passes and ends nothing', () => {
  playScript(`${ESTABLISHED}
    > R 1102:1102(0) win 0                    -> ESTABLISHED 300s
    // The receiver's challenge ACK resolves it.
    < . 6001:6001(0) ack 1101 win 509         -> ESTABLISHED 86400s
    > R 1101:1101(0) win 0                    -> CLOSE 10s`);
});

test('§3.2: two inexact resets in a row have no more effect than one', () => {
  playScript(`${ESTABLISHED}
    > R 2000:2000(0) win 0                    -> ESTABLISHED 300s
    > . 1101:1101(0) ack 6001 win 502         -> ESTABLISHED 86400s
    > R 2000:2000(0) win 0                    -> ESTABLISHED 300s
    > R 2000:2000(0) win 0                    -> ESTABLISHED 300s
    < . 6001:6001(0) ack 1101 win 509         -> ESTABLISHED 86400s`);
});

test('§4: a spoofed SYN is ignored, and makes no later reset acceptable', () => {
  playScript(`${ESTABLISHED}
    > S 1105:1105(0) win 1000                 -> ignored ESTABLISHED
    > R 1106:1106(0) win 0                    -> ESTABLISHED 300s
    < . 6001:6001(0) ack 1101 win 509         -> ESTABLISHED 86400s
    < S 6001:6001(0) win 1000                 -> invalid ESTABLISHED
    < R 6100:6100(0) win 0                    -> ESTABLISHED 300s
    > . 1101:1101(0) ack 6001 win 502         -> ESTABLISHED 86400s`);
});

test('§4: a reset that answers an ignored SYN is accepted only if it acknowledges it', () => {
  playScript(`${ESTABLISHED}
    > S 900000000:900000000(0) win 1000       -> ignored ESTABLISHED
    < R. 0:0(0) ack 900000001 win 0           -> CLOSE 10s`);
  playScript(`${ESTABLISHED}
    > S 900000000:900000000(0) win 1000       -> ignored ESTABLISHED
    < R. 0:0(0) ack 900000000 win 0           -> invalid ESTABLISHED`);
});

test('§5: data that acknowledges data never sent is invalid', () => {
  playScript(`${ESTABLISHED}
    > P. 1101:1111(10) ack 6002 win 502       -> invalid ESTABLISHED
    > P. 1101:1111(10) ack 2000000000 win 502 -> invalid ESTABLISHED
    // A segment that is only very old passes, and has no effect.
    > P. 1101:1111(10) ack 4000000000 win 502 -> ignored ESTABLISHED 86400s
    < . 6001:6001(0) ack 1102 win 509         -> invalid ESTABLISHED`);
});

test('kubernetes #74839: a segment beyond the window is invalid, so no endpoint resets the healthy connection', () => {
  playScript(`${ESTABLISHED}
    < . 100000000:100000000(0) ack 1101 win 509   -> invalid ESTABLISHED 86400s
    < P. 6001:6101(100) ack 1101 win 509          -> ESTABLISHED
    > . 1101:1101(0) ack 6101 win 502             -> ESTABLISHED 86400s`);
});

test('flags that no stack sends are invalid in any state', () => {
  const player = playScript(ESTABLISHED);
  const good = parseSegment('> . 1101:1101(0) ack 6001 win 502');
  const valid = new Set([2, 2 | 32, 2 | 16, 4, 4 | 16, 1 | 16, 1 | 16 | 32, 16, 16 | 32]);
  for (let flags = 0; flags < 64; flags++) {
    if (valid.has(flags & ~8)) continue;
    assert.is(player.play({ ...good, flags }).outcome, 'invalid', `flags ${flags}`);
    assert.is(new TcpPlayer().play({ ...good, flags }).outcome, 'invalid', `first packet with flags ${flags}`);
  }
  assert.is(player.play(good).outcome, 'ok');
});

/** Everything a blind attacker can send: the tuple is known, the numbers are guessed. */
function guess(random: ReturnType<typeof seededRandom>): Segment {
  const flags = [2, 16, 17, 18, 4, 20, 24][random.below(7)] as number;
  return {
    direction: random.below(2),
    flags,
    sequence: random.word() | 0,
    payloadBytes: (flags & 8) !== 0 ? 1 : 0,
    acknowledged: random.word() | 0,
    window: random.below(65536),
    scale: -1,
    sackPermitted: 0,
    sacks: [],
  };
}

test('CVE-2016-5696: 100,000 blind guesses leave an established connection established', () => {
  const random = seededRandom(5961);
  const player = playScript(ESTABLISHED);
  const data = parseSegment('> P. 1101:1201(100) ack 6001 win 502');
  const answer = parseSegment('< . 6001:6001(0) ack 1201 win 509');
  let passed = 0;
  for (let i = 0; i < 100_000; i++) {
    const seen = player.play(guess(random));
    assert.is(seen.state, 'ESTABLISHED', `guess ${i}`);
    if (seen.outcome === 'ok') passed++;
  }
  // Windows of 64 KiB in a space of 4 GiB, and the acknowledgement must fit as well: almost nothing passes.
  assert.ok(passed < 20, `${passed} guesses fitted`);
  assert.is(player.play(data).outcome, 'ok');
  assert.is(player.play(answer).state, 'ESTABLISHED');
  assert.is(player.play(answer).seconds, 86400);
});

test.run();
