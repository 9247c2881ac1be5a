/**
 * Edge cases of translation and connection tracking, packet by packet, against the kernel: seeded sequences of packets
 * that are late, stray, truncated, damaged or fragmented go to a node of ours and to equivalent nftables rules, and the
 * output is compared byte for byte (test/lib/kernel/nat-lockstep.ts lists what is equalized first). Long and valid
 * conversations are in nat-differential.test.ts. Intended differences are listed in test/lib/kernel/nat-differences.ts
 * and docs/semantics.md: any other difference fails, and so does a listed one that never occurs. Needs root, TUN, nft
 * and conntrack.
 *
 *   KERNEL_NAT_SEED=7 KERNEL_NAT_ROUNDS=100 node dist/test/run.js e2e/kernel-nat
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../lib/cluster.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { KernelNat, type Side } from '../lib/kernel/nat.ts';
import { DIFFERENCES } from '../lib/kernel/nat-differences.ts';
import { Flow, WAYS } from '../lib/kernel/nat-flow.ts';
import { agree, describe, Lockstep, summary } from '../lib/kernel/nat-lockstep.ts';
import { SEQUENCES } from '../lib/kernel/nat-sequences.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const SEED = Number(process.env.KERNEL_NAT_SEED ?? 1);
const ROUNDS = Number(process.env.KERNEL_NAT_ROUNDS ?? 16);
/** Maximum number of failures reported. */
const TOLD = Number(process.env.KERNEL_NAT_TOLD ?? 3);
/** Maximum number of steps reported for a failing sequence. */
const HISTORY = Number(process.env.KERNEL_NAT_HISTORY ?? 5);
/** In the range of ports that are kept toward the outside. */
const FIRST_PORT = 33_000;

const test = suite('NAT at its edges: ours and the kernel’s');
let kernel: KernelNat | undefined;
const occurred = new Map<string, number>();
const count = { packets: 0, passed: 0, dropped: 0 };

test.before(() => {
  kernel = new KernelNat(`dpt-edge-${process.pid}`);
});

test.after(() => {
  kernel?.close();
});

for (const [kind, sequence] of Object.entries(SEQUENCES)) {
  test(`${kind}: the output is the same, or differs as documented`, () => {
    const failures: string[] = [];
    const kinds = new Map<string, number>();
    const both = new Lockstep(kernel as KernelNat);
    let port = FIRST_PORT;
    for (let round = 0; round < ROUNDS; round++) {
      for (const [index, way] of WAYS.entries()) {
        const seed = SEED * 1_000_000 + round * WAYS.length + index;
        const told: string[] = [];
        const send = (side: Side, ...packets: Uint8Array[]): boolean => {
          const step = both.send(side, packets);
          count.packets += packets.length;
          told.push(describe(step));
          if (agree(step)) {
            if (step.ours.length > 0) count.passed++;
            else count.dropped++;
            return true;
          }
          const difference = DIFFERENCES.find(({ happened }) => happened(step));
          if (difference) occurred.set(difference.name, (occurred.get(difference.name) ?? 0) + 1);
          else {
            failures.push(`seed ${seed}, ${way.name}, step ${told.length}\n${told.slice(-HISTORY).join('\n')}`);
            const key = `${way.name}: ${summary(step)}`;
            kinds.set(key, (kinds.get(key) ?? 0) + 1);
          }
          return false;
        };
        sequence(new Flow(way, port++), send, seededRandom(seed));
      }
    }
    assert.equal(conntrackFaults(both.node.conntrack), []);
    if (failures.length > 0)
      throw new Error(
        `unexpected differences: ${[...kinds].map(([key, times]) => `\n${times} × ${key}`).join('')}\n${failures.slice(0, TOLD).join('\n\n')}`,
      );
  });
}

test('every listed difference occurs, and most packets were compared', () => {
  if (process.env.KERNEL_NAT_SHOW) console.log(count, Object.fromEntries(occurred));
  assert.equal(
    DIFFERENCES.filter(({ name }) => !occurred.has(name)).map(({ name }) => name),
    [],
  );
  assert.ok(count.passed > 500 && count.dropped > 200, JSON.stringify(count));
});

test('every listed difference is documented', () => {
  const text = readFileSync(join(ROOT, 'docs/semantics.md'), 'utf8');
  const table = /## Differences from Linux\n(.*?)\n## /s.exec(text)?.[1] ?? '';
  assert.equal(
    DIFFERENCES.filter(({ documented }) => !table.includes(documented)).map(({ name }) => name),
    [],
  );
});

test.run();
