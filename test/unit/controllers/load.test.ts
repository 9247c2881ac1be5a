/** Many writers of one object, and many versions of a large one. In full: API_LOAD_FULL=1 (bench/README.md). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import { ApiError } from '../../../src/api/errors.ts';
import { FULL, memoryOf, startChild } from './child-controller.ts';
import { configMap } from './test-cluster.ts';

const WRITERS = FULL ? 100 : 10;
const WRITES = FULL ? 20 : 5;
const UPDATES = FULL ? 2000 : 80;
const LARGE_BYTES = 900_000;
/** Of what a version of the object takes in memory: the history keeps 16 MiB, V8 collects when it wants to. */
const MOST_MIB = 400;
const GROWTH_MIB = 100;

async function withChild(body: (client: ApiClient, memory: () => number) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-load-'));
  const client = new ApiClient(join(directory, 'api.sock'));
  const child = await startChild(directory);
  try {
    await body(client, () => memoryOf(child));
  } finally {
    client.close();
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true });
  }
}

test(`${WRITERS} writers count in one object: no write is lost, and none counts twice`, () =>
  withChild(async (client) => {
    await client.create(configMap('counter', { value: '0' }));
    let conflicts = 0;
    const count = async (): Promise<void> => {
      const { data, ...object } = await client.get('ConfigMap', 'counter', 'default');
      try {
        await client.update({ ...object, data: { value: String(Number(data!.value) + 1) } });
      } catch (error) {
        if (!(error instanceof ApiError) || error.reason !== 'Conflict') throw error;
        conflicts++;
        return count();
      }
    };
    const writer = async () => {
      for (let i = 0; i < WRITES; i++) await count();
    };
    await Promise.all(Array.from({ length: WRITERS }, writer));
    assert.is((await client.get('ConfigMap', 'counter', 'default')).data!.value, String(WRITERS * WRITES));
    assert.ok(conflicts > 0, 'they wrote at the same time');
  }));

test(`${UPDATES} updates of an object of 900 KB: the memory stays where it was after the first quarter`, () =>
  withChild(async (client, memory) => {
    await client.create(configMap('large', { value: 'x'.repeat(LARGE_BYTES) }));
    let early = 0;
    let most = 0;
    for (let i = 1; i <= UPDATES; i++) {
      await client.patch('ConfigMap', 'large', { data: { version: String(i) } });
      most = Math.max(most, memory());
      if (i === UPDATES / 4) early = most;
    }
    const figures = `${early.toFixed(0)} MiB after ${UPDATES / 4} updates, at most ${most.toFixed(0)} MiB`;
    if (FULL) console.log(figures);
    assert.ok(most < MOST_MIB && most - early < GROWTH_MIB, figures);
  }));

test.run();
