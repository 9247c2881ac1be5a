/** Each overlay in modes.ts is implemented: selected by its number, with the overhead that is stated there. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAME_AT } from '../../../native-free-dataplane/dataplane.ts';
import { NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HOST_HOP, NO_HOP } from '../../../native-free-dataplane/node/hops.ts';
import { OVERLAY_NAMES, OVERLAYS, type OverlayName } from '../../../native-free-dataplane/overlay/modes.ts';
import { isRoutedByHost, isTunnelPacket, overlayOf } from '../../../native-free-dataplane/overlay/overlay.ts';
import { ADDRESS_WORDS } from '../../../native-free-dataplane/shared/address.ts';
import { reachesTunnelEndpoint } from '../../../native-free-dataplane/stages/guard.ts';
import { TestNode } from '../../lib/test-node.ts';

const PAYLOAD_BYTES = 100;

/** A node with this overlay and one other node, and a packet. */
function nodeWith(overlay: OverlayName): TestNode {
  const node = new TestNode({ overlay }).pod('a', '10.244.1.2').peer(2);
  node.pkt.reset(FRAME_AT, FRAME_AT + PAYLOAD_BYTES, 1);
  node.pkt.l3 = FRAME_AT + 14;
  return node;
}

for (const name of OVERLAY_NAMES) {
  test(`${name}: adds exactly its overhead in front of the packet, which stays in place`, () => {
    const { pkt, dataplane, node } = nodeWith(name);
    const before = pkt.bytes.slice(pkt.l3, pkt.end);
    const overlay = overlayOf(dataplane);
    const l3 = pkt.l3;
    assert.is(l3 - overlay.encapsulate(pkt, dataplane, firstNodeHop(node)), OVERLAYS[name].overheadBytes);
    assert.is(overlay.overheadBytes, OVERLAYS[name].overheadBytes);
    assert.is(pkt.l3, l3);
    assert.equal(pkt.bytes.slice(pkt.l3, pkt.end), before);
  });
}

test('the kernel routes to another node only if there is no tunnel', () => {
  const routed = OVERLAY_NAMES.filter((name) => {
    const { dataplane, node } = nodeWith(name);
    assert.not(isRoutedByHost(dataplane, HOST_HOP), `${name}: the node itself`);
    assert.not(isRoutedByHost(dataplane, NO_HOP), `${name}: no hop`);
    return isRoutedByHost(dataplane, firstNodeHop(node));
  });
  assert.equal(routed, ['host-gw']);
});

test("an overlay does not accept another overlay's packets", () => {
  const packets = { vxlan: { protocol: 17, dstPort: 4789 }, ipip: { protocol: 4, dstPort: 0 } };
  const taken = OVERLAY_NAMES.flatMap((name) =>
    Object.entries(packets).flatMap(([of, fields]) => {
      const { pkt, dataplane, node } = nodeWith(name);
      Object.assign(pkt, fields);
      pkt.dst.set(node.config.subarray(0, 4));
      return isTunnelPacket(pkt, dataplane) ? [`${name} takes ${of}`] : [];
    }),
  );
  assert.equal(taken, ['vxlan takes vxlan', 'ipip takes ipip']);
});

test("a packet for an address other than the node's, or a fragment, is not decapsulated", () => {
  for (const [what, change] of Object.entries({
    address: (node: TestNode) => node.pkt.dst.set([0, 0, 0xffff, 0x01020304]),
    'first fragment': (node: TestNode) => Object.assign(node.pkt, { moreFragments: 1 }),
    'last fragment': (node: TestNode) => Object.assign(node.pkt, { fragmentOffset: 8 }),
  })) {
    const made = nodeWith('vxlan');
    Object.assign(made.pkt, { protocol: 17, dstPort: 4789 });
    made.pkt.dst.set(made.node.config.subarray(0, 4));
    assert.ok(isTunnelPacket(made.pkt, made.dataplane));
    change(made);
    assert.not(isTunnelPacket(made.pkt, made.dataplane), what);
  }
});

test("no pod may send any overlay's packets to a node", () => {
  for (const name of OVERLAY_NAMES) {
    const { tunnel } = OVERLAYS[name];
    if (tunnel === undefined) continue;
    const { dataplane, node } = nodeWith(name);
    const address = node.config.subarray(NodeWord.NODE_IP, NodeWord.NODE_IP + ADDRESS_WORDS);
    const port = tunnel.port === undefined ? 0 : (node.config[NodeWord.VXLAN_PORT] as number);
    assert.ok(reachesTunnelEndpoint(dataplane, tunnel.protocol, address, port), name);
  }
});

test.run();
