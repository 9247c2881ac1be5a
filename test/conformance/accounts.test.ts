/**
 * Invariants after any traffic: the counters account for every frame, and the connection table loses no record. Seeds
 * are fixed.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StateWord } from '../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import { portTotals, verdictTotal } from '../../native-free-dataplane/shared/counters.ts';
import { MAX_VERDICTS, VERDICTS, Verdict } from '../../native-free-dataplane/verdicts.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { times } from '../lib/long-form.ts';
import { A, B } from '../lib/nat-node.ts';
import { nodeFor, OUTSIDE } from '../lib/round-trip.ts';
import { pick, type Random, seededRandom } from '../lib/seeded-random.ts';
import { TestNode } from '../lib/test-node.ts';

/** Random traffic of every kind, mostly valid, at every port. */
function traffic(node: TestNode, random: Random): void {
  const sources: [string, string][] = [
    ['a', A],
    ['b', B],
    ['host', OUTSIDE],
    ['host', `203.0.113.${1 + random.below(200)}`],
  ];
  const [from, src] = pick(random, sources);
  const targets = [A, B, OUTSIDE, '10.96.0.10', '10.96.0.20', '10.96.0.99', '172.18.0.11', '10.244.1.1', '10.244.9.9'];
  const dst = pick(random, targets);
  const ports = `${src}:${1024 + random.below(40)} > ${dst}:${pick(random, [80, 8080, 53, 31418])}`;
  const flags = pick(random, ['S', 'SA', 'A', 'PA', 'FA', 'R', 'RA', 'SF']);
  const query = `id ${random.below(5)} seq 1 len 8`;
  const texts = [
    `tcp ${ports} ${flags} seq ${random.below(5)} ack ${random.below(5)} len ${random.below(3)}`,
    `udp ${ports} len ${random.below(1300)}`,
    `icmp ${src} > ${dst} ${random.below(2) === 0 ? 'echo-request' : 'echo-reply'} ${query}`,
    `icmp ${src} > ${dst} unreachable port (udp ${dst}:53 > ${src}:${1024 + random.below(40)} len 8)`,
    `icmp ${src} > ${dst} time-exceeded (tcp ${dst}:80 > ${src}:${1024 + random.below(40)} A)`,
  ];
  const options = { ttl: random.below(3) === 0 ? 1 : 64, id: random.below(65536) };
  node.receive(from, pick(random, texts), options);
}

test('frames in = frames out + drops by reason, exactly, from the counters alone', () => {
  const node = nodeFor().peer(2);
  const random = seededRandom(17);
  const frames = times(15_000, 60_000);
  for (let i = 0; i < frames; i++) {
    traffic(node, random);
    if (i % 50 === 0) node.advance(200);
    if (i % 1000 === 0) node.out.length = 0;
  }
  // Fragments that are still held have their verdict when their time is over.
  node.advance(31_000);
  let framesIn = 0;
  let framesOut = 0;
  for (let port = 0; port < 64; port++) {
    framesIn += portTotals(node.counters, port).framesIn;
    framesOut += portTotals(node.counters, port).framesOut;
  }
  const by = { 'go-on': 0, forwarded: 0, delivered: 0, answered: 0, noted: 0, held: 0, dropped: 0, lost: 0 };
  const reasons = new Set<string>();
  for (let verdict = 0; verdict < MAX_VERDICTS; verdict++) {
    const total = verdictTotal(node.counters, verdict);
    const row = VERDICTS[verdict];
    if (total === 0 || row === undefined) continue;
    by[row.class] += total;
    if (row.class === 'dropped') reasons.add(row.name);
  }
  assert.is(by['go-on'], 0);
  assert.is(by.lost, verdictTotal(node.counters, Verdict.PING_UNANSWERED), 'the devices accept every frame');
  assert.is(framesIn, frames);
  const sent = by.forwarded + by.delivered;
  assert.is(sent + by.answered + by.noted + by.held + by.dropped, framesIn);
  assert.is(sent + by.answered, framesOut);
  assert.ok(
    sent > frames / 6 && by.answered > frames / 60 && by.dropped > frames / 12 && reasons.size >= 5,
    JSON.stringify(by),
  );
});

for (const max of [16, 64, 1024]) {
  test(`churn in a table of ${max}: every record is live, on a wheel or free, and has exactly two index words`, () => {
    const node = new TestNode({ maxConntrack: max }).pod('a', A).pod('b', B).peer(2);
    for (const protocol of ['tcp', 'udp']) {
      node.service(`${protocol} 10.96.0.10:80`, {
        endpoints: [`${B}:8080`, `${A}:80`],
        nodePort: 31418,
        name: protocol,
      });
    }
    const random = seededRandom(max);
    let fullest = 0;
    for (let i = 0; i < times(10_000, 40_000); i++) {
      traffic(node, random);
      if (random.below(100) === 0) node.advance(random.below(3000));
      if (random.below(5000) === 0) node.sync.removePod('b');
      else if (random.below(2000) === 0) node.pod('b', B);
      fullest = Math.max(fullest, node.flows);
      if (i % 1000 === 0) assert.equal(conntrackFaults(node.conntrack), [], `after ${i} frames`);
      node.out.length = 0;
    }
    assert.ok(fullest > max / 4, `${fullest} at most`);
    node.advance(90_000_000 / 1000);
    node.nowMs += 90_000_000;
    node.advance(40_000);
    assert.is(entryCount(node.conntrack), 0, 'nothing is left when all have ended');
    assert.equal(conntrackFaults(node.conntrack), []);
    assert.is(node.conntrack.state[StateWord.WATERMARK], node.conntrack.state[StateWord.FREE_COUNT]);
    assert.ok(node.conntrack.index.every((word) => word === 0));
  });
}

test.run();
