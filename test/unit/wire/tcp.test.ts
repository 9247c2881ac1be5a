import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { rewriteIpv4Addresses } from '../../../native-free-dataplane/wire/ipv4.ts';
import { destinationPort, sourcePort } from '../../../native-free-dataplane/wire/ports.ts';
import {
  emitTcpReset,
  flagsInSequence,
  lowerMss,
  readTcpOptions,
  rewriteTcpPorts,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  tcpAcknowledgment,
  tcpFlags,
  tcpHeaderBytes,
  tcpOptions,
  tcpSequence,
  tcpWindow,
} from '../../../native-free-dataplane/wire/tcp.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { packet } from '../../lib/frames/frame-text.ts';
import { tcpOptionBytes } from '../../lib/frames/tcp-option-text.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x7c9;
const NOTHING = { windowScale: -1, sackPermitted: 0, hasSack: 0, sackEdge: 0, mssOffset: 0 };

/** Options of a header with these option bytes. */
function read(options: string | number[]): typeof tcpOptions {
  const bytes = typeof options === 'string' ? tcpOptionBytes(options) : Uint8Array.from(options);
  const header = new Uint8Array(20 + bytes.length);
  header.set(bytes, 20);
  readTcpOptions(viewOf(header), 0, header.length);
  return { ...tcpOptions };
}

test('fields of a segment', () => {
  const bytes = packet('tcp 10.0.0.1:4000 > 10.0.0.2:80 SA seq 4000000000 ack 7 win 500 <mss 1460>');
  const view = viewOf(bytes);
  assert.is(sourcePort(view, 20), 4000);
  assert.is(destinationPort(view, 20), 80);
  assert.is(tcpSequence(view, 20), 4000000000 | 0);
  assert.is(tcpAcknowledgment(view, 20), 7);
  assert.is(tcpFlags(view, 20), TCP_SYN | TCP_ACK);
  assert.is(tcpWindow(view, 20), 500);
  assert.is(tcpHeaderBytes(view, 20), 24);
});

test('the options of a SYN sent by Linux', () => {
  assert.equal(read('mss 1460, sackOK, ts 1 0, nop, wscale 7'), {
    ...NOTHING,
    mssOffset: 22,
    sackPermitted: 1,
    windowScale: 7,
  });
});

test('no options, end of list, timestamps alone: nothing found', () => {
  assert.equal(read(''), NOTHING);
  assert.equal(read('nop, nop, ts 5 6'), NOTHING);
  assert.equal(read([0, 3, 3, 7]), NOTHING, 'what stands behind the end of the list is not read');
});

test('a window scale above 14 counts as 14 (RFC 7323 §2.3)', () => {
  assert.is(read('wscale 200').windowScale, 14);
  assert.is(read('wscale 0').windowScale, 0);
});

test('the highest right edge of the SACK blocks wins, also across the wrap of sequence numbers', () => {
  assert.is(read('nop, nop, sack 5-9 20-30 12-15').sackEdge, 30);
  const wrapped = read('sack 4294967000-4294967290 5-9');
  assert.is(wrapped.sackEdge, 9);
  assert.is(wrapped.hasSack, 1);
});

test('options of wrong length are skipped or end parsing; options before them count', () => {
  assert.equal(read([2, 3, 5, 1]), NOTHING, 'MSS of three bytes');
  assert.equal(read([3, 3, 7, 2, 0, 0, 0, 0]), { ...NOTHING, windowScale: 7 }, 'length 0');
  assert.equal(read([3, 3, 7, 2, 1, 0, 0, 0]), { ...NOTHING, windowScale: 7 }, 'length 1');
  assert.equal(read([3, 3, 7, 2]), { ...NOTHING, windowScale: 7 }, 'the kind is the last byte');
  assert.equal(read([1, 2, 40, 5]), NOTHING, 'beyond the header');
  assert.equal(read([5, 9, 1, 2, 3, 4, 5, 6, 7, 1, 3, 3]), NOTHING, 'half a SACK block');
});

test('random bytes: parsing ends and stays inside the header', () => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 100_000; i++) {
    const headerBytes = 20 + random.below(80);
    // The buffer ends with the header: one read too far would throw.
    const bytes = random.bytes(headerBytes);
    // Small numbers make kinds and lengths that fit.
    if (i & 1) for (let at = 20; at < headerBytes; at++) bytes[at] = (bytes[at] ?? 0) % 12;
    readTcpOptions(viewOf(bytes), 0, headerBytes);
    assert.ok(tcpOptions.windowScale >= -1 && tcpOptions.windowScale <= 14, `step ${i}, seed ${SEED}`);
    assert.ok(tcpOptions.mssOffset === 0 || (tcpOptions.mssOffset >= 22 && tcpOptions.mssOffset <= 58));
  }
});

test('a header end before the header itself does no harm', () => {
  readTcpOptions(viewOf(new Uint8Array(20)), 0, 12);
  assert.equal({ ...tcpOptions }, NOTHING);
});

/** Flags, sequence and acknowledgment of the reset that answers a segment, and its ports. */
function resetOf(segment: string, payload: number): number[] {
  const bytes = new Uint8Array(128).fill(0xff);
  bytes.set(packet(`tcp 10.0.0.1:4000 > 10.0.0.2:80 ${segment}`).subarray(20, 40));
  const view = viewOf(bytes);
  emitTcpReset(view, 60, 0, payload);
  assert.equal([sourcePort(view, 60), destinationPort(view, 60), tcpHeaderBytes(view, 60)], [80, 4000, 20]);
  assert.equal([tcpWindow(view, 60), view.getUint32(76)], [0, 0], 'no window, no checksum yet, no urgent pointer');
  assert.equal([view.getUint8(59), view.getUint8(80)], [0xff, 0xff]);
  return [tcpFlags(view, 60), tcpSequence(view, 60), tcpAcknowledgment(view, 60)];
}

test('a reset is built as RFC 9293 §3.10.7.1 specifies', () => {
  assert.equal(resetOf('A seq 5 ack 900', 10), [TCP_RST, 900, 0]);
  assert.equal(resetOf('S seq 5', 0), [TCP_RST | TCP_ACK, 0, 6]);
  assert.equal(resetOf('F seq 4294967295', 10), [TCP_RST | TCP_ACK, 0, 10], 'sequence numbers wrap');
});

test('SYN and FIN consume a sequence number each', () => {
  assert.equal([0, TCP_SYN, TCP_FIN, TCP_SYN | TCP_FIN, TCP_ACK].map(flagsInSequence), [0, 1, 1, 2, 0]);
});

const BEFORE = 'tcp 10.244.1.2:4000 > 10.96.0.10:80 PA seq 7 len 33';
const AFTER = 'tcp 172.18.0.11:1024 > 10.244.2.5:8080 PA seq 7 len 33';

test('replaced ports: the result is what a sender with those addresses and ports would have sent', () => {
  for (const options of [{}, { partial: true }]) {
    const bytes = packet(BEFORE, options);
    const view = viewOf(bytes);
    const addresses = rewriteIpv4Addresses(view, 0, 0xac12000b | 0, 0x0af40205);
    rewriteTcpPorts(view, 20, (1024 << 16) | 8080, addresses, 'partial' in options ? 1 : 0);
    assert.equal(bytes, packet(AFTER, options));
  }
});

test('MSS: lowered to the limit with a right checksum, at even and odd offsets; never raised', () => {
  const segment = (options: string): Uint8Array => packet(`tcp 10.0.0.1:1 > 10.0.0.2:2 S seq 7 <${options}>`);
  for (const options of ['mss %, sackOK, nop, nop', 'nop, mss %, nop, nop, nop', 'nop, nop, nop, mss %, nop']) {
    const bytes = segment(options.replace('%', '1460'));
    lowerMss(viewOf(bytes), 20, bytes.length, 1410, 0);
    assert.equal(bytes, segment(options.replace('%', '1410')), options);
    lowerMss(viewOf(bytes), 20, bytes.length, 1460, 0);
    assert.equal(bytes, segment(options.replace('%', '1410')), options);
  }
  const none = segment('sackOK, nop, nop');
  lowerMss(viewOf(none), 20, none.length, 1410, 0);
  assert.equal(none, segment('sackOK, nop, nop'));
});

test('MSS: a pending checksum does not cover the option yet', () => {
  const text = (mss: number): string => `tcp 10.0.0.1:1 > 10.0.0.2:2 S seq 7 <mss ${mss}>`;
  const bytes = packet(text(1460), { partial: true });
  lowerMss(viewOf(bytes), 20, bytes.length, 1410, 1);
  assert.equal(bytes, packet(text(1410), { partial: true }));
});

test.run();
