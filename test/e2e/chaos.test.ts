/** The short form of `npm run chaos`: a fixed list with a fault of most kinds, under load, and nothing lost. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Fault, FaultKind } from '../lib/chaos/plan.ts';
import { runChaos } from '../lib/chaos/run.ts';

const KINDS: readonly (readonly [kind: FaultKind, node: string, forMs: number, amount: number])[] = [
  ['worker-throw', 'n1', 0, 0],
  ['loss', 'n1', 1000, 20],
  ['corrupt', 'n2', 1000, 10],
  ['link-flap', 'n2', 300, 0],
  ['mtu', 'n1', 500, 1400],
  ['clock-jump', 'n1', 500, 3600],
  ['disk-full', 'n1', 500, 0],
  ['agent-kill', 'n2', 0, 0],
  ['controller-kill', 'n1', 0, 0],
];

const test = suite('chaos');

test('under a list of faults no connection is lost, no byte is wrong, and everything works afterwards', async () => {
  let atMs = 500;
  const faults = KINDS.map(([kind, node, forMs, amount], seed): Fault => {
    const fault = { kind, node, atMs, forMs, amount, seed };
    atMs += forMs + 700;
    return fault;
  });
  const { failures, outcomes, totals } = await runChaos(faults, () => {});
  assert.equal(failures, []);
  assert.is(outcomes.length, faults.length);
  assert.is(totals.tcpConnections, 60);
  assert.ok(
    totals.datagramsAnswered > totals.datagramsSent / 2,
    `${totals.datagramsAnswered} of ${totals.datagramsSent}`,
  );
  assert.ok(totals.tcpReplies > 60 * 50, `${totals.tcpReplies} replies`);
});

test.run();
