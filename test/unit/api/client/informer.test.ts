import { symlinkSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { startInformer } from '../../../../src/api/client/informer.ts';
import { configMap, eventually, sleep, withCluster } from '../../controllers/test-cluster.ts';

function follow(client: Parameters<typeof startInformer>[0]) {
  const calls: string[] = [];
  const problems: string[] = [];
  const informer = startInformer(
    client,
    'ConfigMap',
    { namespace: 'default', minBackoffMs: 10 },
    {
      added: (o) => calls.push(`+${o.metadata.name}`),
      updated: (o, old) => calls.push(`~${o.metadata.name} ${old.data?.k ?? ''}>${o.data?.k ?? ''}`),
      deleted: (o) => calls.push(`-${o.metadata.name}`),
      synced: () => calls.push('synced'),
      problem: (e) => problems.push(e.message),
      recovered: () => problems.push('recovered'),
    },
  );
  return { informer, calls, problems };
}

test(
  'an informer reports first the list, then the changes',
  withCluster(async ({ client }) => {
    await client.create(configMap('a', { k: '1' }));
    const { informer, calls } = follow(client);
    await informer.whenSynced();
    assert.equal(calls, ['+a', 'synced']);
    await client.patch('ConfigMap', 'a', { data: { k: '2' } });
    await client.create(configMap('b'));
    await client.delete('ConfigMap', 'a');
    await eventually(() => calls.length === 5);
    assert.equal(calls.slice(2), ['~a 1>2', '+b', '-a']);
    assert.is(informer.size, 1);
    assert.is(informer.get('default', 'b')?.metadata.name, 'b');
    informer.close();
  }),
);

test(
  'an informer keeps of its objects what `kept` returns, and passes that to its handlers',
  withCluster(async ({ client }) => {
    await client.create(configMap('a', { k: '1', other: 'x' }));
    const seen: unknown[] = [];
    const informer = startInformer(
      client,
      'ConfigMap',
      { namespace: 'default' },
      {
        kept: (map) => ({ ...map, data: { k: map.data?.k ?? '' } }),
        added: ({ data }) => seen.push(data),
        updated: ({ data }, old) => seen.push(old.data, data),
        deleted: ({ data }) => seen.push(data),
      },
    );
    await informer.whenSynced();
    assert.equal(informer.get('default', 'a')?.data, { k: '1' });
    await client.patch('ConfigMap', 'a', { data: { k: '2' } });
    await client.delete('ConfigMap', 'a');
    await eventually(() => informer.size === 0);
    assert.equal(seen, [{ k: '1' }, { k: '1' }, { k: '2' }, { k: '2' }]);
    informer.close();
  }),
);

test(
  'an informer resumes when the controller is back: no change is lost or repeated, and objects are kept meanwhile',
  withCluster(async (cluster) => {
    const { client } = cluster;
    await client.create(configMap('a', { k: '1' }));
    const { informer, calls } = follow(client);
    await informer.whenSynced();
    for (let round = 2; round < 6; round++) {
      await cluster.restart();
      assert.is(informer.size, 1);
      await client.patch('ConfigMap', 'a', { data: { k: String(round) } });
      await eventually(() => calls.at(-1) === `~a ${round - 1}>${round}`);
    }
    assert.equal(calls, ['+a', 'synced', '~a 1>2', '~a 2>3', '~a 3>4', '~a 4>5']);
    informer.close();
  }),
);

test(
  'an object that was deleted and created again while the watch was down is reported as two objects',
  withCluster(async (cluster) => {
    const { client } = cluster;
    await client.create(configMap('a'));
    const { informer, calls } = follow(client);
    await informer.whenSynced();
    // After a 410 the informer lists again instead of resuming its watch.
    const inner = informer as unknown as { resourceVersion: string | undefined };
    inner.resourceVersion = undefined;
    await client.delete('ConfigMap', 'a');
    await client.create(configMap('a'));
    await client.create(configMap('b'));
    await cluster.restart();
    await eventually(() => informer.size === 2);
    await sleep(20);
    assert.equal([...calls].sort(), ['+a', '+a', '+b', '-a', 'synced'].sort());
    informer.close();
  }),
);

test(
  'an informer waits for an API that is not up yet, and stops when it is closed',
  withCluster(async (cluster) => {
    const { ApiClient } = await import('../../../../src/api/client/client.ts');
    const away = new ApiClient(`${cluster.directory}/nothing.sock`);
    const { informer, problems } = follow(away);
    const synced = informer.whenSynced().then(
      () => 'synced',
      () => 'closed',
    );
    await eventually(() => problems.length >= 3);
    informer.close();
    assert.is(await synced, 'closed');
    const count = problems.length;
    await sleep(100);
    assert.is(problems.length, count);
  }),
);

test(
  'when one informer of a client reaches the API again, the others try at once',
  withCluster(async (cluster) => {
    const { ApiClient } = await import('../../../../src/api/client/client.ts');
    const path = `${cluster.directory}/later.sock`;
    const later = new ApiClient(path);
    let failures = 0;
    const patient = startInformer(
      later,
      'Secret',
      { minBackoffMs: 60_000, maxBackoffMs: 60_000 },
      { problem: () => failures++ },
    );
    const { informer, problems } = follow(later);
    await eventually(() => failures === 1 && problems.length > 1);
    symlinkSync(cluster.client.target, path);
    await Promise.all([informer.whenSynced(), patient.whenSynced()]);
    assert.is(failures, 1);
    informer.close();
    patient.close();
    later.close();
  }),
);

test.run();
