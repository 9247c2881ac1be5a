import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isTunnelPort } from '../../../native-free-dataplane/protocols.ts';
import * as vxlan from '../../../native-free-dataplane/wire/vxlan.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

test('a header is written to the byte and read back', () => {
  const view = memory();
  vxlan.emitVxlan(view, AT, 0xabcdef);
  assert.is(hex(view, 8), '08000000abcdef00');
  untouchedAround(view, 8);
  assert.ok(vxlan.isCleanVxlan(view, AT) && vxlan.hasVxlanNetwork(view, AT));
  assert.is(vxlan.vxlanNetwork(view, AT), 0xabcdef);
});

test('any reserved bit, or a missing VNI flag, makes a header invalid', () => {
  const view = memory();
  for (let bit = 0; bit < 64; bit++) {
    if (bit >= 32 && bit < 56) continue;
    vxlan.emitVxlan(view, AT, 1);
    const at = AT + (bit >> 3);
    view.setUint8(at, view.getUint8(at) ^ (0x80 >> (bit & 7)));
    assert.not(vxlan.isCleanVxlan(view, AT), `bit ${bit}`);
    assert.is(vxlan.hasVxlanNetwork(view, AT), bit !== 4, `bit ${bit}`);
  }
});

test('overhead: 50 bytes of MTU, 36 before the inner Ethernet header', () => {
  assert.equal([vxlan.VXLAN_OVERHEAD_IPV4, vxlan.VXLAN_OUTER_IPV4_BYTES], [50, 36]);
});

test('ports of tunnels', () => {
  const tunnels = [];
  for (let port = 0; port < 65536; port++) if (isTunnelPort(port)) tunnels.push(port);
  assert.equal(tunnels, [4789, 4790, 6080, 6081, 8472]);
});

test.run();
