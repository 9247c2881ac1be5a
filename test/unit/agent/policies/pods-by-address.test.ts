/** Which pod policies see at an address (src/agent/policies/pods-by-address.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PodsByAddress } from '../../../../src/agent/policies/pods-by-address.ts';

const pod = (ip: string, app: string) => ({ ip, namespace: 'default', labels: { app }, ports: [] });
const seen = (pods: PodsByAddress) => pods.all.map(({ ip, labels }) => `${ip} ${labels.app}`).sort();

test('an address has one pod: of several, this node’s own, else the last', () => {
  const pods = new PodsByAddress();
  pods.claim('a', pod('10.0.0.1', 'a'), false);
  pods.claim('b', pod('10.0.0.1', 'b'), false);
  assert.equal(seen(pods), ['10.0.0.1 b']);
  pods.claim('own', pod('10.0.0.1', 'own'), true);
  pods.claim('c', pod('10.0.0.1', 'c'), false);
  assert.equal(seen(pods), ['10.0.0.1 own']);
  pods.release('own');
  assert.equal(seen(pods), ['10.0.0.1 c']);
  pods.release('c');
  pods.release('nobody');
  assert.equal(seen(pods), ['10.0.0.1 b']);
});

test('a pod that gets another address leaves the one it had', () => {
  const pods = new PodsByAddress();
  for (const name of ['a', 'b', 'c']) pods.claim(name, pod(`10.0.0.${name.charCodeAt(0)}`, name), false);
  pods.claim('a', pod('10.0.0.1', 'a'), false);
  pods.release('b');
  assert.equal(seen(pods), ['10.0.0.1 a', '10.0.0.99 c']);
});

test('pods stay at their places when another changes', () => {
  const pods = new PodsByAddress();
  for (let i = 0; i < 10; i++) pods.claim(`${i}`, pod(`10.0.0.${i}`, 'x'), false);
  const before = [...pods.all];
  pods.claim('4', pod('10.0.0.4', 'y'), false);
  assert.equal(
    pods.all.filter((one, i) => one !== before[i]).map(({ ip }) => ip),
    ['10.0.0.4'],
  );
});

test('the list is the same while nothing changes, and one that was taken stays as it is', () => {
  const pods = new PodsByAddress();
  pods.claim('x/a', pod('10.0.0.1', 'a'), false);
  const before = pods.all;
  assert.ok(pods.all === before);
  pods.claim('x/b', pod('10.0.0.2', 'b'), false);
  assert.is(before.length, 1);
  assert.equal(seen(pods), ['10.0.0.1 a', '10.0.0.2 b']);
  pods.release('x/a');
  assert.equal(seen(pods), ['10.0.0.2 b']);
});

test.run();
