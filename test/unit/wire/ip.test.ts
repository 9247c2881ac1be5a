import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ip from '../../../native-free-dataplane/wire/ip.ts';
import { ipv4HeaderChecksum } from '../../../native-free-dataplane/wire/ipv4.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { packet } from '../../lib/frames/frame-text.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

const mapped = (word: number): Int32Array => Int32Array.of(0, 0, 0xffff, word);
const SRC = mapped(0xc0a80001);
const DST = mapped(0xc0a800c7);

const udp = (options = {}): DataView => viewOf(packet('udp 192.168.0.1:1 > 192.168.0.199:2 len 95', options));

test('EtherType and header length of each family', () => {
  assert.equal([ip.IPV4, ip.IPV6].map(ip.etherTypeOf), [0x0800, 0x86dd]);
  assert.equal([ip.IPV4, ip.IPV6].map(ip.minHeaderBytes), [20, 40]);
  assert.is(ip.ipVersion(udp(), 0), ip.IPV4);
  assert.is(ip.ipVersion(viewOf(packet('udp [fd00::2]:1 > [fd00::3]:2 len 0')), 0), ip.IPV6);
});

test('a header is written from addresses of four words, byte for byte', () => {
  const view = memory();
  ip.emitIp(view, AT, AT + 115, 17, SRC, DST);
  assert.is(hex(view, 20), '45000073000040004011b861c0a80001c0a800c7');
  untouchedAround(view, 20);
  ip.writeIdentification(view, AT, 7);
  assert.is(hex(view, 20), '45000073000740004011b85ac0a80001c0a800c7');
});

test('addresses: read as four words, written, replaced, swapped', () => {
  const view = memory();
  ip.emitIp(view, AT, AT + 115, 17, SRC, DST);
  const [src, dst] = [new Int32Array(4).fill(9), new Int32Array(4).fill(9)];
  const read = (): Int32Array[] => {
    ip.readAddresses(view, AT, src, dst);
    return [src, dst];
  };
  assert.equal(read(), [SRC, DST]);
  ip.swapAddresses(view, AT);
  assert.equal(read(), [DST, SRC]);
  assert.is(ipv4HeaderChecksum(view, AT, 20), 0, 'swapping changes no sum');
  ip.rewriteAddresses(view, AT, mapped(1), mapped(2));
  assert.equal(read(), [mapped(1), mapped(2)]);
  assert.is(ipv4HeaderChecksum(view, AT, 20), 0);
  const table = Int32Array.of(7, ...mapped(3), 7, ...mapped(4));
  ip.writeAddresses(view, AT, table, 1, table, 6);
  assert.equal(read(), [mapped(3), mapped(4)]);
});

test('hop limit: read, lowered, reset; the header stays intact', () => {
  const view = udp({ ttl: 9 });
  assert.is(ip.hopLimit(view, 0), 9);
  ip.lowerHopLimit(view, 0);
  assert.is(ip.hopLimit(view, 0), 8);
  ip.resetHopLimit(view, 0);
  assert.is(ip.hopLimit(view, 0), 64);
  assert.is(ipv4HeaderChecksum(view, 0, 20), 0);
});

test('fragments: whether fragmenting is permitted, the common header, which one has no transport header', () => {
  assert.not(ip.mayFragment(udp(), 0));
  assert.ok(ip.mayFragment(udp({ df: false }), 0));
  assert.is(ip.fragmentIdentification(udp({ id: 0xbeef }), 0), 0xbeef);
  assert.not(ip.isLaterFragment(udp({ moreFragments: true }), 0));
  assert.ok(ip.isLaterFragment(udp({ fragmentOffset: 8 }), 0));
});

test('the transport header: its protocol, and its offset after options', () => {
  assert.is(ip.transportProtocol(udp(), 0), 17);
  assert.is(ip.transportAt(udp(), 0), 20);
  assert.is(ip.transportAt(udp({ ipOptions: Uint8Array.of(1, 1, 1, 0) }), 0), 24);
});

test('a quote is valid with a complete, correct header and 8 bytes after it', () => {
  const view = udp({ ipOptions: Uint8Array.of(1, 1, 1, 0) });
  assert.ok(ip.isQuoteIntact(view, 0, 32));
  assert.not(ip.isQuoteIntact(view, 0, 31), 'seven bytes of transport header');
  assert.not(ip.isQuoteIntact(udp(), 0, 27));
  assert.ok(ip.isQuoteIntact(udp(), 0, 28));
  for (let at = 0; at < 24; at++) {
    const damaged = udp({ ipOptions: Uint8Array.of(1, 1, 1, 0) });
    damaged.setUint8(at, damaged.getUint8(at) ^ 0x20);
    assert.not(ip.isQuoteIntact(damaged, 0, 32), `byte ${at}`);
  }
});

test('nothing beyond the end of a quote is read, whatever its header claims', () => {
  for (let length = 0; length < 28; length++) {
    const view = viewOf(new Uint8Array(length).fill(0x4f));
    assert.not(ip.isQuoteIntact(view, 0, length));
  }
  assert.not(ip.isQuoteIntact(viewOf(new Uint8Array(28).fill(0x4f)), 0, 28));
});

test('a segment header: length and identification of its own', () => {
  const view = udp({ id: 7 });
  ip.writeSegmentHeader(view, 0, 20, 60, 9);
  assert.equal([view.getUint16(2), view.getUint16(4)], [60, 9]);
  assert.is(ipv4HeaderChecksum(view, 0, 20), 0);
});

test.run();
