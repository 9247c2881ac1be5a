import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  emitTcpReset,
  readTcpOptions,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  tcpAcknowledgment,
  tcpDestinationPort,
  tcpFlags,
  tcpHeaderBytes,
  tcpOptions,
  tcpSequence,
  tcpSourcePort,
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
  assert.is(tcpSourcePort(view, 20), 4000);
  assert.is(tcpDestinationPort(view, 20), 80);
  assert.is(tcpSequence(view, 20), 4000000000 | 0);
  assert.is(tcpAcknowledgment(view, 20), 7);
  assert.is(tcpFlags(view, 20), TCP_SYN | TCP_ACK);
  assert.is(tcpWindow(view, 20), 500);
  assert.is(tcpHeaderBytes(view, 20), 24);
});

test('the options of a SYN as Linux sends it', () => {
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

test('options of wrong lengths are passed over or end the walk; what stood before counts', () => {
  assert.equal(read([2, 3, 5, 1]), NOTHING, 'MSS of three bytes');
  assert.equal(read([3, 3, 7, 2, 0, 0, 0, 0]), { ...NOTHING, windowScale: 7 }, 'length 0');
  assert.equal(read([3, 3, 7, 2, 1, 0, 0, 0]), { ...NOTHING, windowScale: 7 }, 'length 1');
  assert.equal(read([3, 3, 7, 2]), { ...NOTHING, windowScale: 7 }, 'the kind is the last byte');
  assert.equal(read([1, 2, 40, 5]), NOTHING, 'beyond the header');
  assert.equal(read([5, 9, 1, 2, 3, 4, 5, 6, 7, 1, 3, 3]), NOTHING, 'half a SACK block');
});

test('random bytes: the walk ends, stays inside the header and finds nothing outside it', () => {
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

test('a header end before the header itself is survived', () => {
  readTcpOptions(viewOf(new Uint8Array(20)), 0, 12);
  assert.equal({ ...tcpOptions }, NOTHING);
});

test('a reset answers as RFC 9293 §3.10.7.1 says', () => {
  const view = new DataView(new ArrayBuffer(20));
  emitTcpReset(view, 0, 80, 4000, TCP_ACK, 5, 900, 10);
  assert.equal([tcpFlags(view, 0), tcpSequence(view, 0), tcpAcknowledgment(view, 0)], [TCP_RST, 900, 0]);
  emitTcpReset(view, 0, 80, 4000, TCP_SYN, 5, 0, 0);
  assert.equal([tcpFlags(view, 0), tcpSequence(view, 0), tcpAcknowledgment(view, 0)], [TCP_RST | TCP_ACK, 0, 6]);
  emitTcpReset(view, 0, 80, 4000, TCP_FIN, -1, 0, 10);
  assert.is(tcpAcknowledgment(view, 0), 10, 'sequence numbers wrap');
  assert.equal([tcpSourcePort(view, 0), tcpDestinationPort(view, 0), tcpHeaderBytes(view, 0)], [80, 4000, 20]);
});

test.run();
