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
import { crc32 } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DirectoryInUseError, lockDirectory } from '../../../../src/api/store/directory-lock.ts';
import { JournalDamagedError } from '../../../../src/api/store/journal.ts';
import { Store } from '../../../../src/api/store/store.ts';
import type { ConfigMap, KubeObject } from '../../../../src/api/types/objects.ts';

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

test('every change of any kind increments the version by one', () => {
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

test('the event log finds the first change after a version, and reports versions that are too old', () => {
  const store = new Store({ history: 4 });
  for (let i = 0; i < 6; i++) store.insert(map(`m${i}`));
  const log = store.history('ConfigMap');
  assert.is(log.floor, 2);
  assert.is(log.after(1), -1);
  assert.is(log.at(log.after(2)).version, 3);
  assert.is(log.after(6), log.next);
});

test('all objects survive a restart, and watches can resume', async () => {
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

test('an incomplete last line is cut off, and the next change is appended after the last complete one', async () => {
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

const names = (store: Store) => store.list('ConfigMap').map((o) => o.metadata.name);

/** A directory with a, b and c in its log, in which `spoil` changes the text of the log. */
async function damaged(spoil: (text: string) => string): Promise<string> {
  const directory = fresh();
  const store = new Store({ directory });
  for (const name of ['a', 'b', 'c']) store.insert(map(name));
  await store.close();
  const log = join(directory, 'log-0');
  writeFileSync(log, spoil(readFileSync(log, 'utf8')));
  return directory;
}

test('a damaged line loses only its own change, is reported once, and its file is kept', async () => {
  const spoils: [(text: string) => string, string[]][] = [
    [(text) => text.replace('"name":"b"', '"name":"x"'), ['a', 'c']],
    [(text) => text.replace('"name":"c"', '"name":"x"'), ['a', 'b']],
    [(text) => text.replace(' ADDED ', ' CHANGED '), ['b', 'c']],
  ];
  for (const [spoil, left] of spoils) {
    const directory = await damaged(spoil);
    const store = new Store({ directory });
    assert.equal(names(store), left);
    assert.is(store.damages.length, 1);
    assert.match(store.damages[0]!, /damaged-log-0: 1 changes are unreadable, at byte \d+$/);
    assert.ok(readdirSync(directory).includes('damaged-log-0'));
    assert.is(store.history('ConfigMap').after(1), -1, 'a watch from before must list again');
    store.insert(map('d'));
    await store.close();
    const again = new Store({ directory });
    assert.equal(again.damages, []);
    assert.equal(names(again), [...left, 'd']);
    await again.close();
  }
});

/** The lines of earlier versions have everything in their JSON. */
const oldLine = (line: string) => line.replace(/^[0-9a-f]{8} (\d+) (\w+) \S+ \S+ (.*)$/, '{"v":$1,"t":"$2","o":$3}');
const withSum = (json: string) => `${crc32(json).toString(16).padStart(8, '0')} ${json}`;

test('logs of earlier versions are read: with a sum and JSON in each line, and with JSON alone', async () => {
  for (const form of [oldLine, (line: string) => withSum(oldLine(line))]) {
    const directory = await damaged((text) => `${text.trimEnd().split('\n').map(form).join('\n')}\n`);
    const store = new Store({ directory });
    assert.equal(names(store), ['a', 'b', 'c']);
    assert.equal(store.damages, []);
    assert.is(store.history('ConfigMap').after(1), 1);
    await store.close();
  }
});

test('names that are unusual in a line survive a restart', async () => {
  const directory = fresh();
  const store = new Store({ directory, minLogBytes: 1 });
  const odd = ['system:x', 'with space', 'brace{', '100%', 'ü\nline'];
  const role = (name: string) => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name },
  });
  for (const name of odd) store.insert(role(name) as unknown as KubeObject);
  await store.close();
  const again = new Store({ directory });
  assert.equal(again.damages, []);
  for (const name of odd) assert.is(again.get('ClusterRole', undefined, name)?.metadata.name, name);
  assert.equal(
    again
      .list('ClusterRole')
      .map(({ metadata }) => metadata.name)
      .sort(),
    [...odd].sort(),
  );
  await again.close();
});

test('an object that was read from a file is parsed once, also when it is part of the history', async () => {
  const directory = fresh();
  const store = new Store({ directory });
  const a = store.insert(map('a'));
  store.replace({ ...a, data: { x: '1' } }, a);
  await store.close();
  const again = new Store({ directory });
  const log = again.history('ConfigMap');
  const change = log.at(log.after(1));
  assert.is(change.object, again.get('ConfigMap', 'default', 'a'));
  assert.is(change.old, log.at(log.after(0)).object);
  assert.is(change.json, undefined);
  await again.close();
});

test('a directory of which nothing can be read is refused, because an empty store would end every pod', async () => {
  for (const spoil of [() => '', () => 'rubbish\nrubbish\n']) {
    const directory = await damaged(spoil);
    assert.throws(
      () => new Store({ directory }),
      (e: Error) =>
        e instanceof JournalDamagedError && /none of the stored objects can be read; restore its files/.test(e.message),
    );
  }
  await new Store({ directory: fresh() }).close();
});

test('an object of more than 1.5 MiB is refused and nothing changes', async () => {
  const store = new Store();
  const big = map('big', { k: 'x'.repeat(1.6 * 1024 * 1024) });
  assert.throws(() => store.insert(big), 'Request entity too large: limit is 1572864');
  assert.is(store.version, 0);
  assert.equal(names(store), []);
});

test('the event log is bounded in bytes: it keeps few changes of large objects', () => {
  const store = new Store();
  let object = store.insert(map('a'));
  for (let i = 0; i < 200; i++) object = store.replace({ ...object, data: { k: `${i}`.padEnd(900_000, 'x') } }, object);
  const log = store.history('ConfigMap');
  assert.ok(log.next - log.first < 20, `${log.next - log.first} changes of 900 KB`);
  assert.is(log.after(store.version - 1), log.next - 1);
  assert.is(log.after(1), -1);
});

test('stored objects of kinds that are not served are kept', async () => {
  const directory = fresh();
  const store = new Store({ directory, minLogBytes: 1 });
  const gadget = { ...map('g'), apiVersion: 'example.com/v1', kind: 'Service' } as unknown as ConfigMap;
  store.insert(gadget);
  store.insert(map('a'));
  await store.close();
  const again = new Store({ directory });
  assert.is(again.list('Service.example.com' as 'ConfigMap').length, 1);
  assert.is(again.list('Service').length, 0);
  await again.close();
});

test('only one process at a time locks a directory, and the lock ends with its process', async () => {
  const directory = fresh();
  const unlock = await lockDirectory(directory);
  try {
    await lockDirectory(`${directory}/.`);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, DirectoryInUseError);
  }
  unlock();
  (await lockDirectory(directory))();
});

test('snapshots replace logs while changes continue', async () => {
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
  // Not closed: the snapshot is incomplete, as if the process had been killed here.
  const again = new Store({ directory });
  assert.is(again.list('ConfigMap').length, 20);
  assert.is(again.version, 20);
  await store.close();
});

test.after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

test.run();
