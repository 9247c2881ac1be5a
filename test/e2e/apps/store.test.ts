/** A replicated store as a StatefulSet, whose members find each other by the SRV records of their Service. */
import * as assert from 'uvu/assert';
import { applicationSuite } from '../../lib/applications.ts';
import { eventually } from '../../lib/cluster.ts';

const { test, app } = applicationSuite('store', { files: 'store' });
const STORE = 'http://172.18.0.11:30082';
const put = (key: string, value: string) => app.page(`${STORE}/value?key=${key}`, '-f', '-X', 'PUT', '-d', value);

test('each member finds all three, by names that stay', async () => {
  const names = [0, 1, 2].map((i) => `http://store-${i}.store.default.svc.cluster.local:7000`);
  await eventually(async () => {
    const { members } = JSON.parse(await app.page(`${STORE}/members`)) as { members: string[] };
    assert.equal(members, names);
    return true;
  });
});

test('what was written is read everywhere, also after all members were replaced one by one', async () => {
  for (const i of [1, 2, 3]) await put(`key${i}`, `value ${i}`);
  const requests = [1, 2, 3].map((i) => ({ url: `${STORE}/value?key=key${i}`, expect: `^value ${i}$` }));
  await app.underLoad(requests, () => app.rollOut('StatefulSet', 'store'));
  await put('key1', 'a newer value');
  for (const node of ['11', '12']) {
    assert.is(await app.page(`http://172.18.0.${node}:30082/value?key=key1`), 'a newer value');
  }
  assert.is(await app.page(`${STORE}/value?key=key2`), 'value 2');
});

test('a scaled down store gives its members up in order, and keeps their claims', async () => {
  await app.api.patch('StatefulSet', 'store', { spec: { replicas: 2 } }, { namespace: 'default' });
  await eventually(async () => {
    const { items } = await app.api.list('Pod', { namespace: 'default', labelSelector: 'app=store' });
    assert.equal(items.map(({ metadata }) => metadata.name).sort(), ['store-0', 'store-1']);
    return true;
  }, 20_000);
  const claims = (await app.api.list('PersistentVolumeClaim', { namespace: 'default' })).items;
  assert.equal(claims.map(({ metadata }) => metadata.name).sort(), ['data-store-0', 'data-store-1', 'data-store-2']);
  assert.is(await app.page(`${STORE}/value?key=key3`), 'value 3', 'two of three members are a majority');
});

test.run();
