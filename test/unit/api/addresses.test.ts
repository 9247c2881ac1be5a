import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { overlap, parseCidr, parseIp, parseRange, printCidr, printIp } from '../../../src/api/addresses.ts';

test('text to number and back', () => {
  for (const text of [
    '0.0.0.0',
    '10.96.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '1::',
    'fd00::1:0:0:1',
    '1:2:3:4:5:6:7:8',
    '1:0:0:2::3',
  ]) {
    assert.is(printIp(parseIp(text)!), text);
  }
  assert.is(printIp(parseIp('::ffff:1.2.3.4')!), '::ffff:102:304');
  assert.is(printIp(parseIp('2001:0DB8:0:0:0:0:0:1')!), '2001:db8::1');
  for (const text of ['', '1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4/8', ':::', 'fe80::1%eth0'])
    assert.is(parseIp(text), undefined);
});

test('networks', () => {
  assert.is(printCidr(parseCidr('10.244.3.7/24')!), '10.244.3.0/24');
  assert.is(printCidr(parseCidr('fd00::ff/64')!), 'fd00::/64');
  for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', 'x/8', '10.0.0.0/-1'])
    assert.is(parseCidr(text), undefined, text);
  const o = (a: string, b: string) => overlap(parseCidr(a)!, parseCidr(b)!);
  assert.ok(o('10.0.0.0/8', '10.96.0.0/12'));
  assert.not(o('10.244.0.0/16', '10.96.0.0/12'));
  assert.not(o('0.0.0.0/0', '::/0'));
  assert.is(parseRange('10.0.0.9-10.0.0.1'), undefined);
  assert.is(parseRange('10.0.0.1-10.0.0.9')?.last, parseIp('10.0.0.9')?.value);
});

test.run();
