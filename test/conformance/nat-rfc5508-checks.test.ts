/** RFC 5508 REQ-3: what is verified in an ICMP error before it is translated, and what is forwarded unchanged. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { repairChecksums } from '../lib/frames/frame-residue.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { A, HOST_MACS, isPacket, NODE, natNode, onlySent, ROUTER, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

/** A node with one datagram from pod a to the outside, and an error about it as bytes, to be corrupted. */
function errorInHand(quoted = {}): { n: TestNode; bytes: Uint8Array; view: DataView } {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 20`);
  n.sent('host');
  const text = `icmp ${ROUTER} > ${NODE} unreachable host (udp ${NODE}:40000 > ${SERVER}:53 len 20)`;
  const bytes = frame(text, { ...HOST_MACS, quoted });
  return { n, bytes, view: new DataView(bytes.buffer, bytes.byteOffset) };
}

/** Correct the checksums of the error, its own and its header's. */
const sumAgain = (view: DataView): void => repairChecksums(view, 14, view.byteLength, true, false);

test('RFC 5508 REQ-3a: an error whose ICMP checksum is wrong is dropped', () => {
  const { n, bytes, view } = errorInHand();
  view.setUint16(36, view.getUint16(36) ^ 0x0100);
  assert.is(n.receiveBytes('host', bytes), 'icmp-error-malformed');
  assert.equal(n.out, []);
});

test('RFC 5508 REQ-3b: an error whose quoted IP header has a wrong checksum is dropped', () => {
  const { n, bytes, view } = errorInHand();
  view.setUint16(52, view.getUint16(52) ^ 0x0100);
  sumAgain(view);
  assert.is(n.receiveBytes('host', bytes), 'icmp-error-malformed');
  assert.equal(n.out, []);
});

test('RFC 5508 REQ-3c: the quoted packet’s options are skipped, up to the longest header', () => {
  for (const bytes of [4, 20, 40]) {
    const quoted = { ipOptions: new Uint8Array(bytes).fill(1) };
    const { n, bytes: error } = errorInHand(quoted);
    assert.is(n.receiveBytes('host', error), 'forwarded');
    isPacket(onlySent(n, 'a'), `icmp ${ROUTER} > ${A} unreachable host (udp ${A}:40000 > ${SERVER}:53 len 20)`, {
      quoted,
    });
  }
  // A quoted header whose length exceeds the quote.
  const { n, bytes } = errorInHand({ ipOptions: new Uint8Array(40).fill(1) });
  const short = bytes.slice(0, 14 + 20 + 8 + 60);
  const cut = new DataView(short.buffer);
  cut.setUint16(16, short.length - 14);
  sumAgain(cut);
  assert.is(n.receiveBytes('host', short), 'icmp-error-malformed');
});

test('RFC 5508 REQ-3d: the quoted packet’s transport checksum is not verified, and a wrong one stays wrong', () => {
  const { n, bytes, view } = errorInHand();
  const field = 14 + 20 + 8 + 20 + 6;
  view.setUint16(field, view.getUint16(field) ^ 0x5555);
  sumAgain(view);
  assert.is(n.receiveBytes('host', bytes), 'forwarded');
  const intact = frame(`icmp ${ROUTER} > ${A} unreachable host (udp ${A}:40000 > ${SERVER}:53 len 20)`);
  const right = new DataView(intact.buffer).getUint16(field);
  const sent = onlySent(n, 'a').bytes;
  const got = new DataView(sent.buffer, sent.byteOffset);
  // By the same difference as before, in ones' complement.
  const original = frame(`udp ${NODE}:40000 > ${SERVER}:53 len 20`);
  const before = new DataView(original.buffer).getUint16(14 + 20 + 6);
  assert.is((got.getUint16(field) - right + 0xffff) % 0xffff, ((before ^ 0x5555) - before + 0xffff) % 0xffff);
  const sum = got.getUint16(36);
  sumAgain(got);
  assert.is(sum, got.getUint16(36), 'the ICMP checksum is right all the same');
});

test('RFC 5508 REQ-3e: extensions after the quoted packet (RFC 4884) are forwarded unchanged', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 100`);
  n.sent('host');
  // 128 bytes of quote, then an extension structure with one object (RFC 4950, an MPLS label).
  const extension = Uint8Array.of(0x20, 0, 0xf2, 0x2c, 0, 8, 1, 1, 0x00, 0x3e, 0x81, 0x01);
  const build = (address: string): Uint8Array => {
    const plain = frame(
      `icmp ${ROUTER} > ${address} time-exceeded (udp ${address}:40000 > ${SERVER}:53 len 100)`,
      HOST_MACS,
    );
    const bytes = new Uint8Array(plain.length + extension.length);
    bytes.set(plain);
    bytes.set(extension, plain.length);
    const view = new DataView(bytes.buffer);
    view.setUint8(34 + 5, 32);
    view.setUint16(16, bytes.length - 14);
    sumAgain(view);
    return bytes;
  };
  assert.is(n.receiveBytes('host', build(NODE)), 'forwarded');
  assert.equal(Buffer.from(onlySent(n, 'a').bytes.subarray(14)), Buffer.from(build(A).subarray(14)));
});

test.run();
