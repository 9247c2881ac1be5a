/** The index of pods by address and node, which is made when it is first used. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Store } from '../../../../src/api/store/store.ts';
import { type Pod, WellKnown } from '../../../../src/api/types/objects.ts';
import { PodAddresses } from '../../../../src/controllers/pods/addresses.ts';
import { parseCidr } from '../../../../src/net/address.ts';

const NETWORK = parseCidr('10.244.1.0/24')!;

const pod = (name: string, ip: string) =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', annotations: { [WellKnown.POD_IP]: ip } },
    spec: { nodeName: 'n1', containers: [] },
  }) as unknown as Pod;

test('no pod is read before the index is used; then it has those of before and of afterwards', () => {
  const store = new Store();
  store.insert(pod('a', '10.244.1.2'));
  let lists = 0;
  const list = store.list.bind(store);
  store.list = ((...args: Parameters<typeof list>) => {
    lists++;
    return list(...args);
  }) as typeof store.list;
  const addresses = new PodAddresses(store);
  const b = store.insert(pod('b', '10.244.1.3'));
  assert.is(lists, 0);
  assert.equal([...addresses.podsOn('n1')], ['default/a', 'default/b']);
  store.insert(pod('c', '10.244.1.4'));
  store.remove(b);
  assert.equal([...addresses.podsOn('n1')].sort(), ['default/a', 'default/c']);
  assert.is(addresses.ownerOf('10.244.1.4'), 'default/c');
  assert.is(addresses.ownerOf('10.244.1.3'), undefined);
  assert.is(lists, 1);
});

test('the address of a pod that was removed before the first use is not given away at once either', () => {
  const store = new Store();
  const a = store.insert(pod('a', '10.244.1.2'));
  const addresses = new PodAddresses(store);
  store.remove(a);
  assert.is(addresses.free(NETWORK, Date.now()), '10.244.1.3');
  assert.is(addresses.free(NETWORK, Date.now() + 61_000), '10.244.1.2');
});

test.run();
