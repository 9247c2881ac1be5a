import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  AddressError,
  addressFamily,
  addressWords,
  formatAddress,
  formatIpv4,
  formatMac,
  macWords,
  parseAddress,
  parseMac,
} from '../../../native-free-dataplane/wire/address.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0xadd;

/** Parsing gives undefined, converting throws. */
function refused(parse: (text: string) => unknown, convert: (text: string) => unknown, text: string): void {
  assert.is(parse(text), undefined, text);
  const invalid = (error: unknown) => error instanceof AddressError && error.code === 'ADDRESS_INVALID';
  assert.throws(() => convert(text), invalid, text);
}

test('IPv4 text and int32', () => {
  assert.is(addressWords('10.244.1.2')[3], 0x0af40102);
  assert.is(addressWords('255.255.255.255')[3], -1);
  assert.is(formatIpv4(-1), '255.255.255.255');
  assert.is(formatIpv4(addressWords('172.18.0.11')[3]!), '172.18.0.11');
});

test('invalid IPv4 addresses are rejected', () => {
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
    refused(parseAddress, addressWords, text);
  }
});

test('an IPv4 address is mapped, whichever way it is written', () => {
  assert.equal(addressWords('10.0.0.1'), Int32Array.of(0, 0, 0xffff, 0x0a000001));
  assert.equal(addressWords('::ffff:10.0.0.1'), addressWords('10.0.0.1'));
  assert.equal(addressWords('::ffff:a00:1'), addressWords('10.0.0.1'));
  assert.is(formatAddress(addressWords('::ffff:a00:1')), '10.0.0.1');
  assert.is(addressFamily(addressWords('::1')), 6);
});

test('IPv6 text follows RFC 5952', () => {
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

test('invalid IPv6 addresses are rejected', () => {
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
  for (const text of [...texts, 'fe80::1%eth0', '[::1]', '::1.2.3']) refused(parseAddress, addressWords, text);
});

test('addresses survive a round trip through text', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 20_000; i++) {
    const words = Int32Array.from({ length: 4 }, () => (random.below(3) === 0 ? 0 : random.word()));
    if (random.below(2) === 0) words[1] = (words[1] ?? 0) & 0xffff;
    assert.equal(addressWords(formatAddress(words)), words, `step ${i}, seed ${SEED}`);
  }
});

test('MAC text and numbers', () => {
  assert.equal(parseMac('0a:58:0A:f4:01:02'), { high: 0x0a58, low: 0x0af40102 });
  assert.equal(parseMac('ff:ff:ff:ff:ff:ff'), { high: 0xffff, low: -1 });
  assert.is(formatMac(0x0a58, 0x0af40102), '0a:58:0a:f4:01:02');
  assert.is(formatMac(0xffff, -1), 'ff:ff:ff:ff:ff:ff');
  for (const text of ['', '0a:58', '0a-58-0a-f4-01-02', '0a:58:0a:f4:01:0', '0a:58:0a:f4:01:02:03'])
    refused(parseMac, macWords, text);
});

test.run();
