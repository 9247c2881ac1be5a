import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AddressError,
  addressFamily,
  addressWords,
  formatAddress,
  formatCidr,
  formatIpv4,
  formatMac,
  inCidr,
  parseCidr,
  parseIpv4,
  parseMac,
} from '../../../native-free-dataplane/wire/address.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0xadd;

function refused(parse: () => unknown, why: string): void {
  assert.throws(parse, (error: unknown) => error instanceof AddressError && error.code === 'ADDRESS_INVALID', why);
}

test('IPv4 text and int32', () => {
  assert.is(parseIpv4('10.244.1.2'), 0x0af40102);
  assert.is(parseIpv4('255.255.255.255'), -1);
  assert.is(formatIpv4(-1), '255.255.255.255');
  assert.is(formatIpv4(parseIpv4('172.18.0.11')), '172.18.0.11');
});

test('texts that are no IPv4 address', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '1.2.3.-4',
    '01.2.3.4',
    '1.2.3.0x4',
    '1.2.3.4 ',
    'a.b.c.d',
  ]) {
    refused(() => parseIpv4(text), text);
  }
});

test('an IPv4 address is mapped, whichever way it is written', () => {
  assert.equal(addressWords('10.0.0.1'), Int32Array.of(0, 0, 0xffff, 0x0a000001));
  assert.equal(addressWords('::ffff:10.0.0.1'), addressWords('10.0.0.1'));
  assert.equal(addressWords('::ffff:a00:1'), addressWords('10.0.0.1'));
  assert.is(formatAddress(addressWords('::ffff:a00:1')), '10.0.0.1');
  assert.is(addressFamily(addressWords('::1')), 6);
});

test('IPv6 text as RFC 5952 writes it', () => {
  for (const [text, expected] of [
    ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['FD00::', 'fd00::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
    ['fe80::1:0:0:0', 'fe80::1:0:0:0'],
  ] as const) {
    assert.is(formatAddress(addressWords(text)), expected, text);
  }
});

test('texts that are no IPv6 address', () => {
  const texts = [
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::12345',
    '::g',
    '1.2.3.4::',
  ];
  for (const text of [...texts, 'fe80::1%eth0', '[::1]', '::1.2.3']) refused(() => addressWords(text), text);
});

test('addresses survive a round trip through text', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 20_000; i++) {
    const words = Int32Array.from({ length: 4 }, () => (random.below(3) === 0 ? 0 : random.word()));
    if (random.below(2) === 0) words[1] = (words[1] ?? 0) & 0xffff;
    assert.equal(addressWords(formatAddress(words)), words, `step ${i}, seed ${SEED}`);
  }
});

test('networks: prefix in 128 bits, bits behind it cleared', () => {
  const cidr = parseCidr('10.244.77.1/16');
  assert.equal([cidr.prefix, cidr.family], [112, 4]);
  assert.is(formatCidr(cidr), '10.244.0.0/16');
  assert.ok(inCidr(cidr, addressWords('10.244.255.255')));
  assert.not(inCidr(cidr, addressWords('10.245.0.0')));
  assert.not(inCidr(cidr, addressWords('::10.244.0.1')), 'not a mapped address');
  assert.ok(inCidr(parseCidr('0.0.0.0/0'), addressWords('255.1.2.3')));
  assert.not(inCidr(parseCidr('0.0.0.0/0'), addressWords('fd00::1')));
  assert.ok(inCidr(parseCidr('10.0.0.1/32'), addressWords('10.0.0.1')));
  assert.not(inCidr(parseCidr('10.0.0.1/32'), addressWords('10.0.0.0')));
  const six = parseCidr('fd00:0:0:8001::1/49');
  assert.is(formatCidr(six), 'fd00:0:0:8000::/49');
  assert.ok(inCidr(six, addressWords('fd00:0:0:ffff::1')));
  assert.not(inCidr(six, addressWords('fd00:0:0:7fff::1')));
});

test('texts that are no network', () => {
  for (const text of [
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    'fd00::/129',
    '/8',
    '10.0.0.0/8/8',
  ]) {
    refused(() => parseCidr(text), text);
  }
});

test('MAC text and numbers', () => {
  assert.equal(parseMac('0a:58:0A:f4:01:02'), { high: 0x0a58, low: 0x0af40102 });
  assert.equal(parseMac('ff:ff:ff:ff:ff:ff'), { high: 0xffff, low: -1 });
  assert.is(formatMac(0x0a58, 0x0af40102), '0a:58:0a:f4:01:02');
  assert.is(formatMac(0xffff, -1), 'ff:ff:ff:ff:ff:ff');
  for (const text of ['', '0a:58', '0a-58-0a-f4-01-02', '0a:58:0a:f4:01:0', '0a:58:0a:f4:01:02:03'])
    refused(() => parseMac(text), text);
});

test.run();
