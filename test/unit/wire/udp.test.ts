import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { rewriteIpv4Addresses } from '../../../native-free-dataplane/wire/ipv4.ts';
import { destinationPort, sourcePort } from '../../../native-free-dataplane/wire/ports.ts';
import * as udp from '../../../native-free-dataplane/wire/udp.ts';
import { viewOf } from '../../lib/frames/frame-builder.ts';
import { packet } from '../../lib/frames/frame-text.ts';
import { AT, hex, memory, untouchedAround } from '../../lib/frames/header-memory.ts';

test('a header is written to the byte and read back', () => {
  const view = memory();
  udp.emitUdp(view, AT, 49152, 4789, 58);
  assert.is(hex(view, 8), 'c00012b5003a0000');
  untouchedAround(view, 8);
  assert.equal([sourcePort(view, AT), destinationPort(view, AT), udp.udpLength(view, AT)], [49152, 4789, 58]);
  assert.is(udp.udpChecksum(view, AT), 0);
  udp.writeUdpLength(view, AT, 9);
  assert.is(udp.udpLength(view, AT), 9);
});

const BEFORE = 'udp 10.244.1.2:4000 > 10.96.0.10:53 len 33';
const AFTER = 'udp 172.18.0.11:1024 > 10.244.2.5:5353 len 33';
const PORTS = (1024 << 16) | 5353;

/** BEFORE with AFTER's addresses and ports. */
function translated(options: object): Uint8Array {
  const bytes = packet(BEFORE, options);
  const view = viewOf(bytes);
  const addresses = rewriteIpv4Addresses(view, 0, 0xac12000b | 0, 0x0af40205);
  udp.rewriteUdpPorts(view, 20, PORTS, addresses, 'partial' in options ? 1 : 0);
  return bytes;
}

test('replaced ports: the result is what a sender with those addresses and ports would have sent', () => {
  assert.equal(translated({}), packet(AFTER));
  assert.equal(translated({ partial: true }), packet(AFTER, { partial: true }), 'checksum pending');
  assert.equal(translated({ udpChecksum: false }), packet(AFTER, { udpChecksum: false }), 'no checksum stays none');
});

test('a checksum that becomes 0 is stored as all ones, as 0 means "none" (RFC 768)', () => {
  const view = new DataView(new ArrayBuffer(8));
  udp.emitUdp(view, 0, 1, 2, 8);
  for (let field = 1; field < 0x10000; field++) {
    view.setUint32(0, 0x00010002);
    view.setUint16(6, field);
    udp.rewriteUdpPorts(view, 0, 0x12340002, 0, 0);
    if (udp.udpChecksum(view, 0) === 0) assert.unreachable(`field ${field}`);
  }
});

test.run();
