/** The addresses that a node assigns to its pods. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AddressPool } from '../../../../src/agent/pods/address-pool.ts';

test('every address but the gateway, the network and the broadcast address is assigned once', () => {
  const pool = new AddressPool('10.244.3.0/29');
  const all = Array.from({ length: 5 }, () => pool.assign());
  assert.equal(all, ['10.244.3.2', '10.244.3.3', '10.244.3.4', '10.244.3.5', '10.244.3.6']);
  assert.is(pool.assign(), undefined);
  pool.release('10.244.3.4');
  assert.is(pool.assign(), '10.244.3.4');
});

test('a released address is used again last', () => {
  const pool = new AddressPool('10.244.3.0/29');
  const first = pool.assign() as string;
  pool.release(first);
  const next = Array.from({ length: 5 }, () => pool.assign());
  assert.is(next.at(-1), first);
});

test('an address that is asked for is refused when it is used, foreign, or no address', () => {
  const pool = new AddressPool('10.244.3.0/24');
  assert.is(pool.take('10.244.3.9'), undefined);
  assert.is(pool.take('10.244.3.9'), '10.244.3.9 is in use');
  for (const other of ['10.244.3.0', '10.244.3.1', '10.244.3.255', '10.244.4.2', 'fd00::1']) {
    assert.is(pool.take(other), `${other} is not an address of this node's pods`);
  }
  assert.is(pool.take('10.244.3'), '10.244.3 is not an address');
});

test.run();
