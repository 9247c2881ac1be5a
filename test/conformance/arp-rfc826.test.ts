/** RFC 826, RFC 5227 and RFC 1122 §2.3.2: which ARP packets are answered, and that nothing is learnt from any of them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, GATEWAY } from '../lib/nat-node.ts';
import { TestNode } from '../lib/test-node.ts';

const MAC_A = '0a:58:0a:f4:01:02';
const MAC_B = '0a:58:0a:f4:01:03';
const node = (): TestNode => new TestNode().pod('a', A).pod('b', B).peer(2);

/** A request of pod a for the gateway, with bytes of its ARP part changed. */
function changed(at: number, ...values: number[]): Uint8Array {
  const bytes = frame(`arp who-has ${GATEWAY} tell ${A}`);
  bytes.set(values, 14 + at);
  return bytes;
}

test('RFC 826: a request is answered for its target only, to its sender, with the target’s address', () => {
  const n = node();
  assert.is(n.receive('a', `arp who-has ${GATEWAY} tell ${A}`), 'arp-answered');
  assert.equal(n.sent('a'), [`arp ${GATEWAY} is-at 0a:58:0a:f4:01:01`]);
  assert.is(n.receive('a', `arp who-has ${B} tell ${A}`), 'arp-answered');
  assert.equal(n.sent('a'), [`arp ${B} is-at ${MAC_B}`]);
  for (const target of ['10.244.1.99', '10.244.2.2', '172.18.0.11', '10.96.0.10', '0.0.0.0', '255.255.255.255']) {
    assert.is(n.receive('a', `arp who-has ${target} tell ${A}`), 'arp-unknown-target', target);
  }
  assert.equal(n.out, []);
});

test('RFC 826: hardware type, protocol type and both sizes are checked', () => {
  for (const [at, ...values] of [
    [0, 0, 6],
    [2, 0x86, 0xdd],
    [4, 8],
    [5, 16],
  ] as const) {
    assert.is(node().receiveBytes('a', changed(at, ...values)), 'arp-malformed', `byte ${at}`);
  }
  const request = frame(`arp who-has ${GATEWAY} tell ${A}`);
  for (let bytes = 14; bytes < 42; bytes++) {
    assert.is(node().receiveBytes('a', request.subarray(0, bytes)), 'arp-malformed', `${bytes} bytes`);
  }
});

test('RFC 826: padding behind a request is not part of the reply', () => {
  const n = node();
  const padded = new Uint8Array(60).fill(0xee);
  padded.set(frame(`arp who-has ${GATEWAY} tell ${A}`));
  assert.is(n.receiveBytes('a', padded), 'arp-answered');
  assert.is(n.sentFrames('a')[0]!.bytes.length, 42);
});

test('RFC 5227 §1.1, §2.1: a probe is answered if the address is another’s, and is silent about the pod’s own', () => {
  const n = node();
  assert.is(n.receive('a', `arp who-has ${B} tell 0.0.0.0`, { srcMac: MAC_A }), 'arp-answered');
  n.sent('a');
  assert.is(n.receive('a', `arp who-has ${A} tell 0.0.0.0`, { srcMac: MAC_A }), 'arp-unknown-target');
  assert.equal(n.out, []);
});

test('RFC 5227 §2.3, §2.4: announcements change nothing and are not passed on', () => {
  const n = node();
  assert.is(n.receive('a', `arp who-has ${A} tell ${A}`), 'arp-unknown-target');
  assert.is(n.receive('a', `arp ${A} is-at ${MAC_A}`), 'arp-reply-ignored');
  assert.is(n.receive('b', `arp ${A} is-at ${MAC_B}`), 'arp-reply-ignored');
  assert.equal(n.out, []);
  n.receive('b', `arp who-has ${A} tell ${B}`);
  assert.equal(n.sent('b'), [`arp ${A} is-at ${MAC_A}`]);
});

test('RFC 1812 §3.3.2: a sender with a group address is refused', () => {
  const n = node();
  assert.is(n.receive('a', `arp who-has ${GATEWAY} tell ${A}`, { srcMac: 'ff:ff:ff:ff:ff:ff' }), 'source-mac-invalid');
  // In the ARP part only.
  assert.is(n.receiveBytes('a', changed(8, 0x01, 0x00, 0x5e, 0, 0, 1)), 'arp-spoofed');
  assert.equal(n.out, []);
});

test('RFC 1122 §2.3.2.1: the neighbours follow from the cluster’s state: a pod that has gone is not answered for', () => {
  const n = node();
  n.sync.removePod('b');
  assert.is(n.receive('a', `arp who-has ${B} tell ${A}`), 'arp-unknown-target');
});

test.run();
