import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as arp from '../../../native-free-dataplane/wire/arp.ts';
import { ipv4HeaderChecksum } from '../../../native-free-dataplane/wire/checksum.ts';
import * as ethernet from '../../../native-free-dataplane/wire/ethernet.ts';
import * as icmp from '../../../native-free-dataplane/wire/icmp.ts';
import * as icmpv6 from '../../../native-free-dataplane/wire/icmpv6.ts';
import * as ipv4 from '../../../native-free-dataplane/wire/ipv4.ts';
import * as ipv6 from '../../../native-free-dataplane/wire/ipv6.ts';
import * as udp from '../../../native-free-dataplane/wire/udp.ts';
import * as vxlan from '../../../native-free-dataplane/wire/vxlan.ts';

/** Headers at an odd place in memory full of ones: what is not written, and what is written beside, shows. */
const AT = 7;
function memory(): DataView {
  const bytes = new Uint8Array(96).fill(0xff);
  return new DataView(bytes.buffer);
}

function hex(view: DataView, bytes: number): string {
  return Array.from(new Uint8Array(view.buffer, AT, bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function untouchedAround(view: DataView, bytes: number): void {
  assert.is(view.getUint8(AT - 1), 0xff);
  assert.is(view.getUint8(AT + bytes), 0xff);
}

test('Ethernet', () => {
  const view = memory();
  ethernet.emitEthernet(view, AT, 0x0a58, 0x0af40101, 0x0a58, 0x0af40102, ethernet.ETHERTYPE_IPV4);
  assert.is(hex(view, 14), '0a580af401010a580af401020800');
  untouchedAround(view, 14);
  assert.is(ethernet.ethernetType(view, AT), ethernet.ETHERTYPE_IPV4);
  assert.equal([ethernet.destinationMacHigh(view, AT), ethernet.destinationMacLow(view, AT)], [0x0a58, 0x0af40101]);
  assert.equal([ethernet.sourceMacHigh(view, AT), ethernet.sourceMacLow(view, AT)], [0x0a58, 0x0af40102]);
  assert.not(ethernet.isGroupDestination(view, AT));
  ethernet.writeDestinationMac(view, AT, 0xffff, 0xffffffff);
  assert.ok(ethernet.isGroupDestination(view, AT));
});

test('ARP: a request becomes its answer in place', () => {
  const view = memory();
  arp.emitArp(view, AT, arp.ARP_REQUEST, 0x0a58, 0x0af40102, 0x0af40102, 0, 0, 0x0af40101);
  assert.is(hex(view, 28), '00010800060400010a580af401020af401020000000000000af40101');
  assert.ok(arp.isEthernetArp(view, AT));
  arp.answerArpInPlace(view, AT, 0x0a58, 0x0af40101);
  assert.is(hex(view, 28), '00010800060400020a580af401010af401010a580af401020af40102');
  untouchedAround(view, 28);
  assert.is(arp.arpOperation(view, AT), arp.ARP_REPLY);
  assert.equal([arp.arpTargetMacHigh(view, AT), arp.arpTargetMacLow(view, AT)], [0x0a58, 0x0af40102]);
  view.setUint8(AT + 4, 8);
  assert.not(arp.isEthernetArp(view, AT), 'addresses of another size');
});

test('IPv4', () => {
  const view = memory();
  ipv4.emitIpv4(view, AT, 115, 0, ipv4.IPV4_DONT_FRAGMENT, 64, ipv4.PROTOCOL_UDP, 0xc0a80001, 0xc0a800c7 | 0);
  assert.is(hex(view, 20), '45000073000040004011b861c0a80001c0a800c7');
  untouchedAround(view, 20);
  assert.is(ipv4HeaderChecksum(view, AT, 20), 0);
  assert.equal(
    [ipv4.ipVersion(view, AT), ipv4.ipv4HeaderBytes(view, AT), ipv4.ipv4TotalLength(view, AT)],
    [4, 20, 115],
  );
  assert.equal([ipv4.ipv4Source(view, AT), ipv4.ipv4Destination(view, AT)], [0xc0a80001 | 0, 0xc0a800c7 | 0]);
  assert.equal([ipv4.ipv4Ttl(view, AT), ipv4.ipv4Protocol(view, AT), ipv4.ipv4Identification(view, AT)], [64, 17, 0]);
  ipv4.emitIpv4(view, AT, 115, 9, ipv4.IPV4_MORE_FRAGMENTS | 185, 64, 17, 1, 2);
  assert.is(ipv4.ipv4FragmentOffset(view, AT), 1480);
  assert.is(ipv4.ipv4FragmentWord(view, AT), 0x20b9);
});

test('IPv6', () => {
  const view = memory();
  ipv6.emitIpv6(view, AT, 20, 6, 64, Int32Array.of(0xfd000000, 0, 0, 1), Int32Array.of(0xfd000000, 0, 0, 2));
  assert.is(hex(view, 40), `6000000000140640fd${'00'.repeat(14)}01fd${'00'.repeat(14)}02`);
  untouchedAround(view, 40);
  assert.equal(
    [ipv6.ipv6PayloadLength(view, AT), ipv6.ipv6NextHeader(view, AT), ipv6.ipv6HopLimit(view, AT)],
    [20, 6, 64],
  );
  assert.equal([ipv6.ipv6SourceWord(view, AT, 3), ipv6.ipv6DestinationWord(view, AT, 3)], [1, 2]);
});

test('UDP, VXLAN, ICMP, ICMPv6', () => {
  const view = memory();
  udp.emitUdp(view, AT, 49152, 4789, 58);
  assert.is(hex(view, 8), 'c00012b5003a0000');
  assert.equal(
    [udp.udpSourcePort(view, AT), udp.udpDestinationPort(view, AT), udp.udpLength(view, AT)],
    [49152, 4789, 58],
  );
  vxlan.emitVxlan(view, AT, 0xabcdef);
  assert.is(hex(view, 8), '08000000abcdef00');
  assert.ok(vxlan.isCleanVxlan(view, AT));
  assert.is(vxlan.vxlanNetwork(view, AT), 0xabcdef);
  view.setUint8(AT + 7, 1);
  assert.not(vxlan.isCleanVxlan(view, AT), 'the last byte is reserved');
  icmp.emitIcmp(view, AT, icmp.ICMP_UNREACHABLE, icmp.UNREACHABLE_FRAGMENTATION_NEEDED, 1450);
  assert.is(hex(view, 8), '03040000000005aa');
  assert.is(icmp.icmpMtu(view, AT), 1450);
  icmpv6.emitIcmpv6(view, AT, icmpv6.ICMPV6_TOO_BIG, 0, 1430);
  assert.is(icmpv6.icmpv6Mtu(view, AT), 1430);
  untouchedAround(view, 8);
});

test('ICMP types: errors quote, queries do not', () => {
  const errors = [];
  for (let type = 0; type < 256; type++) if (icmp.isIcmpError(type)) errors.push(type);
  assert.equal(errors, [3, 4, 5, 11, 12]);
  assert.ok(icmpv6.isIcmpv6Error(127) && !icmpv6.isIcmpv6Error(128));
});

test('neighbour options: found, missing, of length 0, beyond the message', () => {
  const message = (...options: number[]): DataView => {
    const bytes = new Uint8Array(24 + options.length);
    bytes.set(options, 24);
    return new DataView(bytes.buffer);
  };
  const find = (view: DataView): number =>
    icmpv6.ndLinkAddressAt(view, 0, view.byteLength, icmpv6.ND_OPTION_SOURCE_LINK_ADDRESS);
  assert.is(find(message(1, 1, 1, 2, 3, 4, 5, 6)), 26);
  assert.is(find(message(14, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6)), 34);
  assert.is(find(message()), 0);
  assert.is(find(message(2, 1, 1, 2, 3, 4, 5, 6)), 0);
  assert.is(find(message(1, 0, 1, 2, 3, 4, 5, 6)), 0);
  assert.is(find(message(1, 1, 1, 2, 3, 4, 5, 6, 9, 0, 0, 0, 0, 0, 0, 0)), 0, 'the whole message is invalid');
  assert.is(find(message(1, 2, 1, 2, 3, 4, 5, 6)), 0);
});

test.run();
