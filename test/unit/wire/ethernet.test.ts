import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as ethernet from '../../../native-free-dataplane/wire/ethernet.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

/** A header for IPv4 from 0a:58:0a:f4:01:02 to 0a:58:0a:f4:01:01. */
function header(): DataView {
  const view = memory();
  ethernet.writeDestinationMac(view, AT, 0x0a58, 0x0af40101);
  ethernet.writeSourceMac(view, AT, 0x0a58, 0x0af40102);
  ethernet.writeEthernetType(view, AT, ethernet.ETHERTYPE_IPV4);
  return view;
}

test('a header is written to the byte and read back', () => {
  const view = header();
  assert.is(hex(view, 14), '0a580af401010a580af401020800');
  untouchedAround(view, 14);
  assert.is(ethernet.ethernetType(view, AT), ethernet.ETHERTYPE_IPV4);
  assert.equal([ethernet.destinationMacHigh(view, AT), ethernet.destinationMacLow(view, AT)], [0x0a58, 0x0af40101]);
  assert.equal([ethernet.sourceMacHigh(view, AT), ethernet.sourceMacLow(view, AT)], [0x0a58, 0x0af40102]);
});

test('MACs are compared completely, the low word as int32', () => {
  const view = header();
  assert.ok(ethernet.isDestinationMac(view, AT, 0x0a58, 0x0af40101));
  assert.ok(ethernet.isSourceMac(view, AT, 0x0a58, 0x0af40102));
  assert.not(ethernet.isDestinationMac(view, AT, 0x0a59, 0x0af40101));
  assert.not(ethernet.isSourceMac(view, AT, 0x0a58, 0x0af40101));
  ethernet.writeDestinationMac(view, AT, 0x0a58, 0xf0000001);
  assert.ok(ethernet.isDestinationMac(view, AT, 0x0a58, 0xf0000001 | 0));
});

test('group addresses', () => {
  const view = header();
  assert.not(ethernet.isGroupDestination(view, AT) || ethernet.isGroupSource(view, AT));
  ethernet.writeDestinationMac(view, AT, 0xffff, 0xffffffff);
  assert.ok(ethernet.isGroupDestination(view, AT));
  ethernet.writeSourceMac(view, AT, 0x0100, 0);
  assert.ok(ethernet.isGroupSource(view, AT));
});

test('VLAN tags: the identifier, and the type after the tag', () => {
  const view = memory();
  ethernet.writeEthernetType(view, AT, ethernet.ETHERTYPE_QINQ);
  view.setUint16(AT + 14, 0xe064);
  view.setUint16(AT + 16, ethernet.ETHERTYPE_ARP);
  assert.ok(ethernet.isVlanType(ethernet.ethernetType(view, AT)) && ethernet.isVlanType(ethernet.ETHERTYPE_VLAN));
  assert.not(ethernet.isVlanType(ethernet.ETHERTYPE_IPV4));
  assert.is(ethernet.vlanIdentifier(view, AT), 100, 'priority bits are not part of it');
  assert.is(ethernet.ethernetType(view, AT + ethernet.VLAN_TAG_BYTES), ethernet.ETHERTYPE_ARP);
});

test.run();
