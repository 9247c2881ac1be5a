/**
 * The controller is killed with SIGKILL repeatedly: every acknowledged write survives. `npm run test:kills` kills it 200
 * times; SEED repeats the moments of the kills of an earlier run.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import { startInformer } from '../../../src/api/client/informer.ts';
import type { Service } from '../../../src/api/types/objects.ts';
import { times } from '../../lib/long-form.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { FULL, startChild } from './child-controller.ts';
import { eventually, service, sleep } from './test-cluster.ts';

const KILLS = FULL ? 200 : times(5, 10);
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31);

test(`SIGKILL under load, ${KILLS} times: every acknowledged write survives, and no address is allocated twice`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-kill-'));
  const client = new ApiClient(join(directory, 'api.sock'));
  const acknowledged = new Map<string, string>();
  const random = seededRandom(SEED);
  const counts = { created: 0, deleted: 0, failed: 0 };
  const begun = Date.now();
  let child = await startChild(directory);
  const informer = startInformer(client, 'Service', { minBackoffMs: 10 });
  let running = true;
  const writer = async (id: number) => {
    for (let i = 0; running; i++) {
      try {
        const made = await client.create<Service>(service(`s-${id}-${i}`));
        acknowledged.set(made.metadata.name, made.spec.clusterIP!);
        counts.created++;
        if (i % 5 === 4) {
          await client.delete('Service', `s-${id}-${i - 1}`);
          acknowledged.delete(`s-${id}-${i - 1}`);
          counts.deleted++;
        }
      } catch {
        counts.failed++;
        if (i % 5 === 4) acknowledged.delete(`s-${id}-${i - 1}`); // killed between the two: the outcome is unknown
        await sleep(5);
      }
    }
  };
  const writers = [0, 1, 2, 3].map(writer);
  try {
    for (let round = 0; round < KILLS; round++) {
      // Each kill happens while writes are in flight, however slow the machine is.
      const before = acknowledged.size;
      await eventually(() => acknowledged.size > before + 2, 60_000);
      await sleep(random.below(100));
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
      child = await startChild(directory);
    }
    running = false;
    await Promise.all(writers);
    const { items, metadata } = await client.list('Service');
    const found = new Map(items.map((s) => [s.metadata.name, s.spec.clusterIP]));
    assert.ok(acknowledged.size > 20, `only ${acknowledged.size} writes`);
    for (const [name, ip] of acknowledged) assert.is(found.get(name), ip, name);
    const ips = items.map((s) => s.spec.clusterIP);
    assert.is(new Set(ips).size, ips.length);
    await eventually(() => informer.size === items.length, 30_000);
    for (const s of items) assert.equal(informer.get('default', s.metadata.name), s);
    assert.ok(Number(metadata.resourceVersion) >= items.length);
    if (FULL) console.log(figures({ ...counts, kept: items.length, seconds: Math.round((Date.now() - begun) / 1000) }));
  } catch (error) {
    console.error(`SEED=${SEED}`);
    throw error;
  } finally {
    running = false;
    informer.close();
    client.close();
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
});

const figures = ({ created, deleted, failed, kept, seconds }: Record<string, number>): string =>
  `${KILLS} kills in ${seconds} s: ${created} creations and ${deleted} deletions acknowledged, ${failed} writes without an answer, ${kept} Services kept`;

test.run();
