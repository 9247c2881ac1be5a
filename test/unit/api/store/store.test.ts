import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { JournalDamagedError } from '../../../../src/api/store/journal.ts';
import { Store } from '../../../../src/api/store/store.ts';
import type { ConfigMap } from '../../../../src/api/types/objects.ts';

const directories: string[] = [];
const fresh = () => {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-store-'));
  directories.push(directory);
  return directory;
};
const map = (name: string, data: Record<string, string> = {}) =>
  ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' }, data }) as unknown as ConfigMap;
const state = (store: Store) =>
  JSON.stringify(store.list('ConfigMap').sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)));

test('versions rise by one with every change, whatever the kind', () => {
  const store = new Store();
  const a = store.insert(map('a'));
  const b = store.replace({ ...a, data: { x: '1' } }, a);
  const gone = store.remove(b);
  assert.equal(
    [a, b, gone].map((o) => o.metadata.resourceVersion),
    ['1', '2', '3'],
  );
  assert.is(store.version, 3);
  assert.is(store.get('ConfigMap', 'default', 'a'), undefined);
});

test('history knows what came after a version, and when it no longer does', () => {
  const store = new Store({ history: 4 });
  for (let i = 0; i < 6; i++) store.insert(map(`m${i}`));
  const log = store.history('ConfigMap');
  assert.is(log.floor, 2);
  assert.is(log.after(1), -1);
  assert.is(log.at(log.after(2)).version, 3);
  assert.is(log.after(6), log.next);
});

test('everything is there again after a restart, and watches may resume', async () => {
  const directory = fresh();
  const store = new Store({ directory });
  const a = store.insert(map('a'));
  store.insert(map('b', { ü: 'x' }));
  store.remove(store.replace({ ...a, data: { y: '2' } }, a));
  const before = state(store);
  await store.close();
  const again = new Store({ directory });
  assert.is(state(again), before);
  assert.is(again.version, 4);
  assert.is(again.history('ConfigMap').after(1), 1);
  await again.close();
});

test('a torn last line is cut off, and the next change follows cleanly', async () => {
  const directory = fresh();
  const store = new Store({ directory });
  store.insert(map('a'));
  store.insert(map('b'));
  await store.close();
  const log = join(directory, 'log-0');
  const whole = statSync(log).size;
  for (let cut = 1; cut < 40; cut += 3) {
    appendFileSync(log, '{"v":3,"t":"ADDED","o":{"apiVersion":"v1"'.slice(0, cut));
    const again = new Store({ directory });
    assert.is(again.version, 2);
    await again.close();
    assert.is(statSync(log).size, whole);
  }
  truncateSync(log, whole - 5);
  const again = new Store({ directory });
  assert.is(again.version, 1);
  again.insert(map('c'));
  await again.close();
  const last = new Store({ directory });
  assert.equal(
    last.list('ConfigMap').map((o) => o.metadata.name),
    ['a', 'c'],
  );
  await last.close();
});

test('damage in the middle is not papered over', async () => {
  const directory = fresh();
  const store = new Store({ directory });
  for (const name of ['a', 'b', 'c']) store.insert(map(name));
  await store.close();
  const log = join(directory, 'log-0');
  writeFileSync(log, readFileSync(log, 'utf8').replace('"ADDED"', 'ADDED'));
  assert.throws(
    () => new Store({ directory }),
    (e: Error) => e instanceof JournalDamagedError,
  );
});

test('snapshots replace logs, while changes go on', async () => {
  const directory = fresh();
  const store = new Store({ directory, minLogBytes: 20_000 });
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 30; i++) {
      const old = store.get('ConfigMap', 'default', `m${i}`);
      if (old === undefined) store.insert(map(`m${i}`, { round: String(round) }));
      else if ((round + i) % 7 === 0) store.remove(old);
      else store.replace({ ...old, data: { round: String(round) } }, old);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const before = state(store);
  await store.close();
  const names = readdirSync(directory);
  assert.is(names.filter((n) => n.startsWith('snapshot-')).length, 1, names.join());
  assert.ok(names.filter((n) => n.startsWith('log-')).length <= 2, names.join());
  const again = new Store({ directory });
  assert.is(state(again), before);
  assert.is(again.version, store.version);
  await again.close();
});

test('a crash between log and snapshot loses nothing', async () => {
  const directory = fresh();
  const store = new Store({ directory, minLogBytes: 2000 });
  for (let i = 0; i < 20; i++) store.insert(map(`m${i}`));
  // Not closed: the snapshot is half-way, as if the process had been killed here.
  const again = new Store({ directory });
  assert.is(again.list('ConfigMap').length, 20);
  assert.is(again.version, 20);
  await store.close();
});

test.after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

test.run();
