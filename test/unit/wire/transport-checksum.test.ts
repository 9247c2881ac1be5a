import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import {
  applyPartialDifference,
  difference16,
  difference32,
  finishChecksum,
  fold16,
  sumBytes,
} from '../../../native-free-dataplane/wire/checksum.ts';
import {
  checksumOffsetOf,
  finishPendingChecksum,
  pseudoHeaderSum,
  transportChecksum,
  writePendingChecksum,
  writeTcpChecksum,
} from '../../../native-free-dataplane/wire/transport-checksum.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { frame, packet } from '../../lib/frames/frame-text.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x1071;

test('partial: updates equal the folded sum of the new pseudo-header on 100,000 random headers', () => {
  const random = seededRandom(SEED);
  const view = new DataView(new ArrayBuffer(40));
  for (let i = 0; i < 100_000; i++) {
    const bytes = 20 + random.below(65000);
    view.setUint8(0, 0x45);
    view.setUint32(12, random.below(8) === 0 ? -random.below(2) : random.word());
    view.setUint32(16, random.word());
    const before = fold16(pseudoHeaderSum(view, 0, 6, bytes));
    const [oldSrc, oldDst] = [view.getInt32(12), view.getInt32(16)];
    view.setUint32(12, random.word());
    view.setUint32(16, random.below(8) === 0 ? -random.below(2) : random.word());
    const both = difference32(oldSrc, view.getInt32(12)) + difference32(oldDst, view.getUint32(16));
    const field = applyPartialDifference(before, both);
    assert.is(field, fold16(pseudoHeaderSum(view, 0, 6, bytes)), `step ${i}, seed ${SEED}`);
    const shorter = 20 + random.below(65000);
    const length = difference16(bytes, shorter);
    assert.is(applyPartialDifference(field, length), fold16(pseudoHeaderSum(view, 0, 6, shorter)));
  }
});

test('partial: NAT of the addresses, then finishing, gives what a recompute after NAT gives', () => {
  const before = packet('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 7 len 33', { partial: true });
  const view = viewOf(before);
  const to = 0x0af40205;
  view.setUint16(36, applyPartialDifference(view.getUint16(36), difference32(view.getInt32(16), to)));
  view.setInt32(16, to);
  view.setUint16(22, 8080);
  view.setUint16(36, finishChecksum(sumBytes(view, 20, before.length, 0)));
  const after = packet('tcp 10.244.1.2:4000 > 10.244.2.5:8080 SA seq 7 len 33');
  assert.equal(before.subarray(20), after.subarray(20));
});

test('pseudo-headers of both families: built segments check to 0, a flipped bit does not', () => {
  for (const text of [
    'tcp 10.244.1.2:4000 > 10.96.0.10:80 PA len 5',
    'udp 10.244.1.2:4000 > 10.96.0.10:53 len 1',
    'tcp [fd00::2]:4000 > [fd00::3]:80 S',
    'udp [fd00::2]:4000 > [fd00::3]:53 len 8',
    'icmp6 fd00::2 > fd00::3 echo-request id 1 seq 2 len 3',
    'icmp 10.0.0.1 > 10.0.0.2 echo-request id 1 seq 2 len 3',
  ]) {
    const bytes = frame(text);
    const view = viewOf(bytes);
    const v6 = bytes[14] === 0x60;
    const protocol = bytes[v6 ? 20 : 23] ?? 0;
    const l4 = v6 ? 54 : 34;
    assert.is(transportChecksum(view, 14, l4, bytes.length, protocol), 0, text);
    view.setUint8(l4 + 4, view.getUint8(l4 + 4) ^ 0x10);
    assert.is.not(transportChecksum(view, 14, l4, bytes.length, protocol), 0, text);
  }
});

test('a checksum left pending and finished is the checksum the sender would have computed', () => {
  for (const protocol of [PROTOCOL_TCP, PROTOCOL_UDP]) {
    const name = protocol === PROTOCOL_TCP ? 'tcp' : 'udp';
    const whole = packet(`${name} 10.244.1.2:4000 > 10.96.0.10:80 len 33`);
    const bytes = whole.slice();
    const view = viewOf(bytes);
    const field = 20 + checksumOffsetOf(protocol);
    view.setUint16(field, 0xaaaa);
    writePendingChecksum(view, 0, 20, bytes.length, protocol);
    assert.is(view.getUint16(field), fold16(pseudoHeaderSum(view, 0, protocol, bytes.length - 20)));
    finishPendingChecksum(view, 20, field, bytes.length);
    assert.equal(bytes, whole, name);
  }
  assert.is(checksumOffsetOf(132), -1, 'SCTP has another kind of checksum');
});

test('a finished checksum of 0 is stored as all ones (RFC 768)', () => {
  const view = viewOf(Uint8Array.of(0xff, 0xff, 0, 0));
  finishPendingChecksum(view, 0, 2, 4);
  assert.is(view.getUint16(2), 0xffff);
});

test('TCP: the checksum written is the one a receiver accepts', () => {
  const bytes = packet('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 7 len 33');
  const view = viewOf(bytes);
  const right = view.getUint16(36);
  view.setUint16(36, 0);
  writeTcpChecksum(view, 0, 20, bytes.length);
  assert.is(view.getUint16(36), right);
});

test.run();
