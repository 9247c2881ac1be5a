/** RFC 7348, sections 4.1, 4.3, 5 and 6.1: what a VXLAN tunnel endpoint sends, and what it accepts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { frame } from '../lib/frames/frame-text.ts';
import { A, B, NODE, onlySent } from '../lib/nat-node.ts';
import { TestNode } from '../lib/test-node.ts';

const FAR = '10.244.2.2';
const PEER = '172.18.0.12';
const OUTER = { srcMac: '02:00:00:00:00:09', dstMac: '0a:58:0a:f4:01:01' };
/** Offsets in a sent frame: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8. */
const UDP = 34;
const VXLAN = 42;
const INNER = 50;

const node = (): TestNode => new TestNode().pod('a', A).pod('b', B).peer(2);
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The overlay packet of what pod a sends to another node. */
function encapsulated(text: string, options = {}): Uint8Array {
  const n = node();
  assert.is(n.receive('a', text, options), 'encapsulated');
  return onlySent(n, 'host').bytes;
}

/** A frame of the overlay, changed after it was made. */
function received(change: (view: DataView) => void = () => {}, options = {}): string {
  const text = `vxlan ${PEER}:50000 > ${NODE}:4789 vni 1 (udp ${FAR}:1 > ${A}:2 len 20)`;
  const bytes = frame(text, { dstMac: OUTER.dstMac, outer: OUTER, ...options });
  change(viewOf(bytes));
  return node().receiveBytes('host', bytes);
}

test('RFC 7348 §5: the VNI flag is set and every reserved bit is zero; the port is 4789, the outer UDP checksum zero', () => {
  const view = viewOf(encapsulated(`udp ${A}:1 > ${FAR}:2 len 20`));
  assert.is(view.getUint32(VXLAN), 0x08000000);
  assert.is(view.getUint32(VXLAN + 4), 1 << 8);
  assert.is(view.getUint16(UDP + 2), 4789);
  assert.is(view.getUint16(UDP + 6), 0);
});

test('RFC 7348 §5: the source port is a hash of the inner flow, within 49152 to 65535, the same for all packets of one', () => {
  const n = node();
  const portOf = (text: string): number => {
    assert.is(n.receive('a', text), 'encapsulated');
    return viewOf(onlySent(n, 'host').bytes).getUint16(UDP);
  };
  const ports = new Set<number>();
  for (let port = 1; port < 300; port++) {
    const source = portOf(`udp ${A}:${port} > ${FAR}:2 len 20`);
    assert.ok(source >= 49152 && source <= 65535, String(source));
    assert.is(portOf(`udp ${A}:${port} > ${FAR}:2 len 500`), source);
    ports.add(source);
  }
  assert.ok(ports.size > 250, `${ports.size} ports for 299 flows`);
});

test('RFC 7348 §4.3: the endpoint does not fragment: DF is set, and what does not fit is refused to its sender', () => {
  const view = viewOf(encapsulated(`udp ${A}:1 > ${FAR}:2 len 20`));
  assert.is(view.getUint16(20) & 0x7fff, 0x4000);
  assert.is(node().receive('a', `udp ${A}:1 > ${FAR}:2 len 1500`), 'fragmentation-needed');
});

test('RFC 7348 §4.1: a packet without the VNI flag, or of another VNI, is dropped', () => {
  assert.is(received(), 'forwarded');
  assert.is(
    received((view) => view.setUint8(VXLAN, 0)),
    'vxlan-flags',
  );
  for (const vni of [0, 2, 0xffffff])
    assert.is(
      received((view) => view.setUint32(VXLAN + 4, vni << 8)),
      'vxlan-vni',
      `${vni}`,
    );
});

test('RFC 7348 §5 (differs, as linux): a packet with a reserved bit is dropped, not ignored: no peer of ours sends one', () => {
  for (const bit of [0, 1, 2, 3, 5, 6, 7, 8, 31, 56, 63]) {
    const at = VXLAN + (bit >> 3);
    assert.is(
      received((view) => view.setUint8(at, view.getUint8(at) ^ (0x80 >> (bit & 7)))),
      'vxlan-flags',
      `bit ${bit}`,
    );
  }
});

test('RFC 7348 §5: an outer UDP checksum of zero is accepted, one that is present must be right', () => {
  assert.is(received(undefined, { outer: { ...OUTER, udpChecksum: true } }), 'forwarded');
  const wrong = received((view) => view.setUint16(UDP + 6, view.getUint16(UDP + 6) ^ 1), {
    outer: { ...OUTER, udpChecksum: true },
  });
  assert.is(wrong, 'vxlan-checksum');
});

test('RFC 7348 §6.1: no inner VLAN tag is sent, and a frame with one is dropped', () => {
  assert.is(viewOf(encapsulated(`udp ${A}:1 > ${FAR}:2 len 20`)).getUint16(INNER + 12), 0x0800);
  const verdict = received(undefined, { vlan: 7 });
  assert.ok(['vxlan-inner-frame', 'vlan-tagged'].includes(verdict), verdict);
});

test('RFC 7348 §4.3: a fragment of an overlay packet is not decapsulated: the kernel reassembles it, or drops it', () => {
  const verdict = received((view) => view.setUint16(20, 0x2000));
  assert.not(['forwarded', 'encapsulated'].includes(verdict), verdict);
});

test.run();
