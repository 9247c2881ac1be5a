/** Watches: which events are sent, from which version, and clients that do not read. */
import { connect } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { resourceOfKind } from '../../../../src/api/resources.ts';
import { type Output, renderer } from '../../../../src/api/server/render.ts';
import type { WatchSink } from '../../../../src/api/server/watch-sink.ts';
import { startWatch } from '../../../../src/api/server/watch-stream.ts';
import { EventLog } from '../../../../src/api/store/event-log.ts';
import type { ConfigMap, WatchEvent } from '../../../../src/api/types/objects.ts';
import { configMap, eventually, refusal, request, sleep, withCluster } from '../../controllers/test-cluster.ts';

test(
  'a watch sends the changes after its version that match its selectors, in order',
  withCluster(async ({ client }) => {
    const start = (await client.list('ConfigMap')).metadata.resourceVersion;
    const events: string[] = [];
    const stop = new AbortController();
    const note = (e: WatchEvent<ConfigMap>) => events.push(`${e.type} ${e.object.metadata.name}`);
    const done = client.watch(
      'ConfigMap',
      { resourceVersion: start, labelSelector: 'app=web', signal: stop.signal },
      note,
    );
    const a = await client.create(configMap('a', {}, { app: 'web' }));
    await client.create(configMap('b'));
    await client.update({ ...a, data: { k: '1' } });
    await client.patch('ConfigMap', 'a', { metadata: { labels: { app: 'other' } } });
    await client.patch('ConfigMap', 'b', { metadata: { labels: { app: 'web' } } });
    await client.delete('ConfigMap', 'a');
    await client.delete('ConfigMap', 'b');
    await eventually(() => events.length >= 5);
    await sleep(20);
    assert.equal(events, ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED b', 'DELETED b']);
    stop.abort();
    await done;
  }),
);

test(
  'watches get a change before its client gets the answer',
  withCluster(async ({ client, socketPath }) => {
    const made = await client.create(configMap('a'));
    const order: string[] = [];
    const watch = connect(socketPath);
    const { resourceVersion } = made.metadata;
    watch.write(`GET /api/v1/configmaps?watch=true&resourceVersion=${resourceVersion} HTTP/1.1\r\nhost: x\r\n\r\n`);
    const writer = connect(socketPath);
    await new Promise((resolve) => watch.once('data', resolve));
    watch.on('data', () => order.push('event'));
    writer.on('data', () => order.push('answer'));
    for (let i = 0; i < 20; i++) {
      const body = JSON.stringify({ data: { k: String(i) } });
      const head = ['host: x', 'content-type: application/merge-patch+json', `content-length: ${body.length}`];
      writer.write(`PATCH /api/v1/namespaces/default/configmaps/a HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n${body}`);
      await eventually(() => order.length === 2 * (i + 1));
    }
    assert.equal(order, Array.from({ length: 20 }, () => ['event', 'answer']).flat());
    watch.destroy();
    writer.destroy();
  }),
);

test('changes of one transaction are sent together, in a microtask', async () => {
  const log = new EventLog(100, 0);
  const sent: Output[][] = [];
  const sink: WatchSink = {
    open() {},
    send: (events) => sent.push([...events]) > 0,
    end() {},
    onDrain() {},
    onClose() {},
  };
  const resource = resourceOfKind('ConfigMap')!;
  const request = {
    renderer: renderer(resource, { as: 'object', mediaType: 'application/json' }, 'Metadata'),
    ...{ namespace: undefined, selects: undefined, initial: undefined, bookmarks: false, endMark: false },
    ...{ timeoutMs: 60_000, version: 0 },
  };
  const end = startWatch(sink, log, request);
  await null;
  const change = (version: number) => {
    const object = configMap(`c${version}`) as ConfigMap;
    log.push({ type: 'ADDED', version, object, old: undefined, json: undefined });
  };
  change(1);
  change(2);
  assert.equal(sent, []);
  await null;
  change(3);
  await null;
  assert.equal(
    sent.map((events) => events.map((event) => JSON.parse(String(event)).object.metadata.name as string)),
    [['c1', 'c2'], ['c3']],
  );
  end();
});

test(
  'a watch without a version begins with the present objects; bookmarks and time limits',
  withCluster(async ({ client }) => {
    await client.create(configMap('a'));
    const events: string[] = [];
    const options = { namespace: 'default', timeoutSeconds: 1, allowWatchBookmarks: true };
    const started = Date.now();
    await client.watch('ConfigMap', options, (e) => events.push(`${e.type} ${e.object.metadata.name ?? ''}`));
    assert.ok(Date.now() - started < 1900);
    assert.equal(events, ['ADDED a', 'BOOKMARK ']);
  }),
);

test(
  'a watch from a version that has expired or is in the future gets 410',
  withCluster(async ({ client }) => {
    await client.create(configMap('a'));
    const { resourceVersion } = (await client.list('ConfigMap')).metadata;
    // More than the 16 MiB of changes that the event log keeps.
    for (let i = 0; i < 20; i++) await client.patch('ConfigMap', 'a', { data: { k: `${i}`.padEnd(1_000_000, 'x') } });
    const old = await refusal(client.watch('ConfigMap', { resourceVersion }, () => {}));
    assert.is(old.code, 410);
    assert.is(old.reason, 'Expired');
    assert.is((await refusal(client.watch('Namespace', { resourceVersion: '99999999' }, () => {}))).code, 410);
  }),
);

test(
  'a client that does not read costs no memory and does not delay the others',
  withCluster(async ({ client, socketPath }) => {
    const lazy = connect(socketPath);
    lazy.pause();
    lazy.write('GET /api/v1/configmaps?watch=true HTTP/1.1\r\nhost: x\r\n\r\n');
    await sleep(20);
    const before = process.memoryUsage().external;
    const data = { k: 'x'.repeat(100_000) };
    const made = await client.create(configMap('big', data));
    let seen = 0;
    const stop = new AbortController();
    const done = client.watch(
      'ConfigMap',
      { resourceVersion: made.metadata.resourceVersion, signal: stop.signal },
      () => {
        seen++;
      },
    );
    for (let i = 0; i < 100; i++) await client.patch('ConfigMap', 'big', { data: { i: String(i) } });
    await eventually(() => seen === 100);
    assert.ok(process.memoryUsage().external - before < 30_000_000);
    stop.abort();
    await done;
    lazy.destroy();
  }),
);

test(
  'the parameter watch is true with any value except 0 and false',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a'));
    const path = '/api/v1/namespaces/default/configmaps?timeoutSeconds=1&';
    const watching = ['watch', 'watch=', 'watch=1', 'watch=True', 'watch=yes'].map(async (spelling) => {
      assert.match((await request(socketPath, 'GET', path + spelling)).body, /^\{"type":"ADDED"/, spelling);
    });
    await Promise.all(watching);
    for (const spelling of ['watch=0', 'watch=false', 'watch=False', '']) {
      assert.match((await request(socketPath, 'GET', path + spelling)).body, /^\{"kind":"ConfigMapList"/, spelling);
    }
  }),
);

test(
  'a watch of a Table: each event has a row, only the first has the columns',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a'));
    await client.create(configMap('b'));
    const path = '/api/v1/namespaces/default/configmaps?watch&timeoutSeconds=1';
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    const { body } = await request(socketPath, 'GET', path, undefined, undefined, accept);
    const tables = body
      .trim()
      .split('\n')
      .map(
        (line) =>
          (JSON.parse(line) as { object: { columnDefinitions: unknown[]; rows: { cells: unknown[] }[] } }).object,
      );
    assert.equal(
      tables.map(({ rows }) => rows[0]!.cells[0]),
      ['a', 'b'],
    );
    assert.equal(
      tables.map(({ columnDefinitions }) => columnDefinitions.length),
      [3, 0],
    );
  }),
);

test(
  'a watch over WebSocket: one message per event; an invalid request is refused before the upgrade',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a'));
    const path = '/api/v1/namespaces/default/configmaps';
    const socket = new WebSocket(`ws+unix://${socketPath}:${path}?watch=true`);
    const events: string[] = [];
    socket.on('message', (data) => {
      const { type, object } = JSON.parse(String(data)) as WatchEvent<ConfigMap>;
      events.push(`${type} ${object.metadata.name}`);
    });
    await eventually(() => events.length === 1);
    await client.create(configMap('b'));
    await client.delete('ConfigMap', 'a');
    await eventually(() => events.length === 3);
    assert.equal(events, ['ADDED a', 'ADDED b', 'DELETED a']);
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    socket.close();
    await closed;
    for (const [query, code] of [
      ['?watch&resourceVersion=999999', 410],
      ['?watch&resourceVersion=x', 400],
      ['', 404],
    ] as const) {
      const refused = new WebSocket(`ws+unix://${socketPath}:${path}${query}`);
      const error = await new Promise<Error>((resolve) => refused.once('error', resolve));
      assert.match(error.message, String(code));
    }
  }),
);

test.run();
