import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import {
  type Cidr,
  contains,
  ipWords,
  networkWords,
  nthAddress,
  overlap,
  parseCidr,
  parseIp,
  parseRange,
  printCidr,
  printIp,
  rangeOf,
} from '../../../src/net/address.ts';

const cidr = (text: string): Cidr => parseCidr(text)!;
const inside = (network: string, ip: string): boolean => contains(cidr(network), parseIp(ip)!);

test('addresses are parsed and printed', () => {
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
    assert.equal(ipWords(parseIp(text)!), addressWords(text));
  }
  assert.is(parseIp('10.0.0.1')?.value, 0x0a000001n);
  assert.is(parseIp('fd00::1')?.value, (0xfd00n << 112n) | 1n);
  assert.is(printIp(parseIp('2001:0DB8:0:0:0:0:0:1')!), '2001:db8::1');
  for (const text of ['', '1.2.3', '1.2.3.256', '01.2.3.4', '1.2.3.4/8', ':::', 'fe80::1%eth0'])
    assert.is(parseIp(text), undefined);
});

test('a mapped address keeps the family it is written in, and the table form of the IPv4 address', () => {
  const mapped = parseIp('::ffff:1.2.3.4')!;
  assert.is(mapped.family, 6);
  assert.equal(ipWords(mapped), ipWords(parseIp('1.2.3.4')!));
});

test('networks: host bits are cleared', () => {
  assert.is(printCidr(cidr('10.244.3.7/24')), '10.244.3.0/24');
  assert.is(printCidr(cidr('fd00::ff/64')), 'fd00::/64');
  assert.is(printCidr(cidr('fd00:0:0:8001::1/49')), 'fd00:0:0:8000::/49');
});

test('invalid networks are rejected', () => {
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    'fd00::/129',
    '/8',
    'x/8',
    '10.0.0.0/8/8',
  ]) {
    assert.is(parseCidr(text), undefined, text);
  }
});

test('a network contains its addresses, and none of the other family', () => {
  assert.ok(inside('10.244.77.1/16', '10.244.255.255'));
  assert.not(inside('10.244.77.1/16', '10.245.0.0'));
  assert.ok(inside('0.0.0.0/0', '255.1.2.3'));
  assert.not(inside('0.0.0.0/0', 'fd00::1'));
  assert.not(inside('10.244.0.0/16', '::10.244.0.1'));
  assert.ok(inside('10.0.0.1/32', '10.0.0.1'));
  assert.not(inside('10.0.0.1/32', '10.0.0.0'));
  assert.ok(inside('fd00:0:0:8000::/49', 'fd00:0:0:ffff::1'));
  assert.not(inside('fd00:0:0:8000::/49', 'fd00:0:0:7fff::1'));
});

test('networks overlap if they share an address', () => {
  assert.ok(overlap(cidr('10.0.0.0/8'), cidr('10.96.0.0/12')));
  assert.not(overlap(cidr('10.244.0.0/16'), cidr('10.96.0.0/12')));
  assert.not(overlap(cidr('0.0.0.0/0'), cidr('::/0')));
});

test('in the tables a prefix length is relative to 128 bits', () => {
  assert.equal(networkWords(cidr('10.244.77.1/16')), { words: addressWords('10.244.0.0'), prefix: 112 });
  assert.equal(networkWords(cidr('fd00::ff/64')), { words: addressWords('fd00::'), prefix: 64 });
});

test('ranges: a CIDR, or first-last', () => {
  assert.is(parseRange('10.0.0.9-10.0.0.1'), undefined);
  assert.is(parseRange('10.0.0.1-fd00::1'), undefined);
  assert.is(parseRange('10.0.0.1-10.0.0.9')?.last, parseIp('10.0.0.9')?.value);
  assert.is(parseRange('10.0.0.0/30')?.last, parseIp('10.0.0.3')?.value);
  const one = rangeOf(parseIp('10.0.0.1')!);
  assert.equal([one.first, one.last], [0x0a000001n, 0x0a000001n]);
});

test('there is no n-th address beyond the end of a range', () => {
  assert.is(printIp(nthAddress(cidr('10.0.0.0/30'), 3)!), '10.0.0.3');
  assert.is(nthAddress(cidr('10.0.0.0/30'), 4), undefined);
});

test.run();
