import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, Packet } from '../../../native-free-dataplane/packet.ts';
import { readVnetHeader, writeVnetHeader } from '../../../native-free-dataplane/wire/vnet-header.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import { loadFrame } from '../../lib/frames/load-frame.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x3e7;
const FRAME_AT = 258;
const FRAME_BYTES = 7106;

interface Header {
  flags: number;
  type: number;
  headerLength: number;
  gsoSize: number;
  start: number;
  offset: number;
  outerL4: number;
  innerL3: number;
}

const NONE: Header = { flags: 0, type: 0, headerLength: 0, gsoSize: 0, start: 0, offset: 0, outerL4: 0, innerL3: 0 };
const TCP4: Header = { ...NONE, flags: 1, type: GSO_TCPV4, headerLength: 66, gsoSize: 1398, start: 34, offset: 16 };
const TCP6: Header = { ...NONE, flags: 1, type: GSO_TCPV6, headerLength: 86, gsoSize: 1378, start: 54, offset: 16 };
const UDP: Header = { ...NONE, flags: 1, type: GSO_UDP_L4, headerLength: 42, gsoSize: 1400, start: 34, offset: 6 };
/** As received from Linux 6.18. */
const TUNNEL: Header = {
  flags: 1,
  type: 0x21,
  headerLength: 116,
  gsoSize: 1398,
  start: 84,
  offset: 16,
  outerL4: 34,
  innerL3: 64,
};

function put(view: DataView, at: number, bytes: number, header: Header): void {
  view.setUint8(at, header.flags);
  view.setUint8(at + 1, header.type);
  const words = [header.headerLength, header.gsoSize, header.start, header.offset];
  words.forEach((word, i) => {
    view.setUint16(at + 2 + 2 * i, word, true);
  });
  if (bytes < 24) return;
  view.setUint16(at + 20, header.outerL4, true);
  view.setUint16(at + 22, header.innerL3, true);
}

/** Read the header in front of a frame of so many bytes. */
function read(header: Header, headerBytes = 24, frameBytes = FRAME_BYTES): { ok: boolean; pkt: Packet } {
  const pkt = new Packet(new ArrayBuffer(16384));
  pkt.reset(FRAME_AT, FRAME_AT + frameBytes, 1);
  put(pkt.view, FRAME_AT - headerBytes, headerBytes, header);
  return { ok: readVnetHeader(pkt.view, FRAME_AT - headerBytes, headerBytes, pkt), pkt };
}

function offloads(pkt: Packet): number[] {
  const { needsChecksum, checksumStart, checksumOffset, gsoType, gsoSize, gsoEcn, headersEnd, outerL4, innerL3 } = pkt;
  return [needsChecksum, checksumStart, checksumOffset, gsoType, gsoSize, gsoEcn, headersEnd, outerL4, innerL3];
}

test('an empty header requests no offload', () => {
  const { ok, pkt } = read(NONE);
  assert.ok(ok);
  assert.equal(offloads(pkt), [0, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test('DATA_VALID and unknown flags alone request no offload', () => {
  for (const flags of [2, 4, 6, 8, 0xfe]) {
    const { ok, pkt } = read({ ...NONE, flags });
    assert.ok(ok);
    assert.is(pkt.needsChecksum, 0);
  }
});

test('a pending checksum: offsets become absolute', () => {
  const { ok, pkt } = read({ ...NONE, flags: 1, start: 34, offset: 6 }, 12, 60);
  assert.ok(ok);
  assert.equal(offloads(pkt), [1, FRAME_AT + 34, 6, 0, 0, 0, 0, 0, 0]);
});

test('a tunnelled super-packet: the tunnel bits come off, both headers are found', () => {
  const { ok, pkt } = read(TUNNEL);
  assert.ok(ok);
  assert.equal(offloads(pkt), [1, FRAME_AT + 84, 16, GSO_TCPV4, 1398, 0, FRAME_AT + 116, FRAME_AT + 34, FRAME_AT + 64]);
});

test('what was read is written back byte for byte', () => {
  const cases: [string, Header, number][] = [
    ['none, 12', NONE, 12],
    ['none, 24', NONE, 24],
    ['checksum', { ...NONE, flags: 1, start: 34, offset: 16 }, 12],
    ['checksum, 24', { ...NONE, flags: 1, start: 54, offset: 6 }, 24],
    ['TCPv4', TCP4, 12],
    ['TCPv4 with ECN', { ...TCP4, type: 0x81 }, 24],
    ['TCPv6', TCP6, 24],
    ['UDP', UDP, 12],
    ['tunnel', TUNNEL, 24],
    ['tunnel, UDP inside', { ...TUNNEL, type: 0x25, offset: 6 }, 24],
    ['tunnel, ECN', { ...TUNNEL, type: 0xa1 }, 24],
    ['tunnel, IPv6 inside', { ...TUNNEL, type: 0x24, start: 104 }, 24],
  ];
  for (const [name, header, bytes] of cases) {
    const { ok, pkt } = read(header, bytes);
    assert.ok(ok, name);
    const { view } = pkt;
    view.setUint16(FRAME_AT + 12, 0x0800);
    // Fill the header's place with other bytes: all of them must be overwritten.
    for (let at = 0; at < bytes; at++) view.setUint8(at, 0xaa);
    writeVnetHeader(view, 0, bytes, pkt);
    const expected = new Uint8Array(bytes);
    put(new DataView(expected.buffer), 0, bytes, header);
    assert.equal(new Uint8Array(view.buffer, 0, bytes), expected, name);
  }
});

test('an outer UDP checksum that is not zero is pending too (UDP_TUNNEL_CSUM)', () => {
  const { pkt } = read({ ...TUNNEL, flags: 9 });
  pkt.view.setUint16(FRAME_AT + 34 + 6, 0x1234);
  writeVnetHeader(pkt.view, 0, 24, pkt);
  assert.is(pkt.view.getUint8(0), 9);
});

test('an outer IPv6 header is recognised by the EtherType', () => {
  const { ok, pkt } = read({ ...TUNNEL, type: 0x41, outerL4: 54, innerL3: 84, start: 104, headerLength: 136 });
  assert.ok(ok);
  pkt.view.setUint16(FRAME_AT + 12, 0x86dd);
  writeVnetHeader(pkt.view, 0, 24, pkt);
  assert.is(pkt.view.getUint8(1), 0x41);
});

test('pushing and popping 50 bytes moves only the frame: the header follows', () => {
  const { pkt } = read(TCP4);
  pkt.start -= 50;
  pkt.outerL4 = pkt.start + 34;
  pkt.innerL3 = pkt.start + 64;
  pkt.view.setUint16(pkt.start + 12, 0x0800);
  writeVnetHeader(pkt.view, pkt.start - 24, 24, pkt);
  const expected = new Uint8Array(24);
  put(new DataView(expected.buffer), 0, 24, TUNNEL);
  assert.equal(new Uint8Array(pkt.view.buffer, pkt.start - 24, 24), expected);
});

test('a header that is inconsistent or does not fit its frame is rejected, and changes nothing', () => {
  const cases: [string, Header, number?, number?][] = [
    ['checksum beyond the frame', { ...NONE, flags: 1, start: 34, offset: 16 }, 12, 51],
    ['checksum start far out', { ...NONE, flags: 1, start: 0xffff, offset: 0xffff }, 12],
    ['checksum start in the Ethernet header', { ...NONE, flags: 1, start: 6, offset: 16 }],
    ['checksum start in the IP header', { ...NONE, flags: 1, start: 33, offset: 6 }],
    ['super-packet without a pending checksum', { ...TCP4, flags: 0 }],
    ['segments of no bytes', { ...TCP4, gsoSize: 0 }],
    ['headers longer than the frame', { ...TCP4, headerLength: FRAME_BYTES + 1 }],
    ['TCP header cut short', TCP4, 24, 53],
    ['UDP header cut short', { ...UDP, headerLength: 0 }, 24, 41],
    ['TCP checksum at the wrong place', { ...TCP4, offset: 6 }],
    ['UDP checksum at the wrong place', { ...UDP, offset: 16 }],
    ['TCPv6 where only IPv4 fits', { ...TCP6, start: 34 }],
    ['UFO (3), which Linux no longer takes', { ...UDP, type: 3 }],
    ['an unknown GSO type', { ...TCP4, type: 7 }],
    ['ECN alone', { ...TCP4, type: 0x80 }],
    ['ECN with UDP', { ...UDP, type: 0x85 }],
    ['tunnel bit alone', { ...TUNNEL, type: 0x20 }],
    ['both tunnel bits', { ...TUNNEL, type: 0x61 }],
    ['tunnel without a pending checksum', { ...TUNNEL, flags: 0 }],
    ['tunnel with a short header', TUNNEL, 12],
    ['outer UDP header inside the outer IPv4 header', { ...TUNNEL, outerL4: 33 }],
    ['outer UDP header inside the outer IPv6 header', { ...TUNNEL, type: 0x41, outerL4: 34 }],
    ['inner IP header inside the outer UDP header', { ...TUNNEL, innerL3: 41 }],
    ['inner transport header inside the inner IPv4 header', { ...TUNNEL, start: 83 }],
    ['inner transport header inside the inner IPv6 header', { ...TUNNEL, type: 0x24, start: 103 }],
    ['inner transport header beyond the frame', TUNNEL, 24, 100],
  ];
  for (const [name, header, headerBytes, frameBytes] of cases) {
    const { ok, pkt } = read(header, headerBytes, frameBytes);
    assert.not(ok, name);
    assert.is(pkt.needsChecksum, 0, name);
    assert.is(pkt.gsoType, 0, name);
  }
});

test('a super-packet built for tests is accepted by the reader', () => {
  for (const text of ['tcp 10.0.0.1:1 > 10.0.0.2:2 A len 9000', 'udp [fd00::1]:1 > [fd00::2]:2 len 9000']) {
    const pkt = new Packet(new ArrayBuffer(16384));
    loadFrame(pkt, frame(text, { partial: true }), 1, { gsoSize: 1400 });
    const before = offloads(pkt);
    writeVnetHeader(pkt.view, FRAME_AT - 12, 12, pkt);
    pkt.reset(pkt.start, pkt.end, 1);
    assert.ok(readVnetHeader(pkt.view, FRAME_AT - 12, 12, pkt), text);
    assert.equal(offloads(pkt), before, text);
  }
});

test('random headers: every accepted offset lies inside the frame', () => {
  const random = seededRandom(SEED);
  const pkt = new Packet(new ArrayBuffer(16384));
  let accepted = 0;
  for (let i = 0; i < 200_000; i++) {
    const frameBytes = random.below(300);
    pkt.reset(FRAME_AT, FRAME_AT + frameBytes, 1);
    for (let at = 0; at < 24; at++) pkt.bytes[at] = random.word();
    pkt.bytes[0] = random.below(4);
    pkt.bytes[1] = [0, 1, 4, 5, 0x21, 0x41, 0x25, random.below(256)][random.below(8)] ?? 0;
    for (const high of [3, 5, 7, 9, 21, 23]) pkt.bytes[high] = 0;
    if (random.below(2) === 0) pkt.bytes[8] = random.below(2) === 0 ? 16 : 6;
    if (!readVnetHeader(pkt.view, 0, 24, pkt)) continue;
    if (pkt.needsChecksum === 0) continue;
    accepted++;
    const why = `step ${i}, seed ${SEED}`;
    assert.ok(pkt.checksumStart >= pkt.start + 34 && pkt.checksumStart + pkt.checksumOffset + 2 <= pkt.end, why);
    assert.ok(pkt.headersEnd <= pkt.end, why);
    if (pkt.outerL4 !== 0) assert.ok(pkt.innerL3 >= pkt.outerL4 + 8 && pkt.innerL3 + 20 <= pkt.checksumStart, why);
    if (pkt.gsoType !== 0) assert.ok(pkt.gsoSize > 0, why);
  }
  assert.ok(accepted > 1000, `only ${accepted} headers were accepted`);
});

test.run();
