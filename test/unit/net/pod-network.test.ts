import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseIp } from '../../../src/net/address.ts';
import { gatewayOf, macOf } from '../../../src/net/pod-network.ts';
import { whyNotEndpoint } from '../../../src/net/reserved.ts';

test('the gateway is the first address of the pod network', () => {
  assert.is(gatewayOf('10.244.1.0/24'), '10.244.1.1');
  assert.is(gatewayOf('10.244.255.0/24'), '10.244.255.1');
  assert.is(gatewayOf('10.244.0.255/16'), '10.244.0.1', 'host bits are cleared first');
  assert.throws(() => gatewayOf('10.244.1.0'), /expected a pod network/);
  assert.throws(() => gatewayOf('10.244.1.0/32'), /room for a gateway/);
});

test('a MAC is 0a:58 and the four bytes of the address', () => {
  assert.is(macOf('10.244.1.2'), '0a:58:0a:f4:01:02');
  assert.is(macOf('0.0.0.1'), '0a:58:00:00:00:01');
  assert.throws(() => macOf('fd00::1'), /expected an IPv4 address/);
});

test('no traffic is sent to loopback, link-local, multicast, reserved or mapped addresses', () => {
  const why = (text: string) => whyNotEndpoint(parseIp(text)!);
  for (const text of ['0.0.0.0', '127.0.0.1', '169.254.169.254', '224.0.0.1', '240.0.0.1', '255.255.255.255'])
    assert.type(why(text), 'string', text);
  for (const text of ['::', '::1', 'fe80::1', 'ff02::1', '::ffff:10.0.0.1']) assert.type(why(text), 'string', text);
  for (const text of ['10.244.1.2', '1.1.1.1', 'fd00::1', '2001:db8::1']) assert.is(why(text), undefined, text);
});

test.run();
