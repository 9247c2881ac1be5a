import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printBytes, printFrame, printPacket } from '../../../native-free-dataplane/print/frame.ts';
import { concat, fragments, viewOf } from '../../lib/frames/frame-builder.ts';
import { frame, packet } from '../../lib/frames/frame-text.ts';
import { seededRandom } from '../../lib/seeded-random.ts';

const SEED = 0x9417;

/** Lines that are printed as they were written. */
const LINES = [
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 S seq 1 win 64240',
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 4294967295 ack 7 win 65535 <mss 1460, sackOK, ts 1 2, wscale 7>',
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 PA seq 5 ack 6 win 1 <sack 5-9 20-30> len 1400',
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 - seq 5 win 1',
  'tcp 10.244.1.2:4000 > 10.96.0.10:80 SFRPAUEC seq 5 ack 6 win 1',
  'tcp [fd00::2]:4000 > [fd00::3]:80 FA seq 1 ack 2 win 3 len 9',
  'udp 10.244.1.2:5353 > 10.244.2.2:53 len 31',
  'udp 10.244.1.2:5353 > 10.244.2.2:53',
  'udp [fd00::2]:1 > [fd00::3]:2 len 4',
  'sctp 10.244.1.2:5 > 10.244.2.2:6 len 20',
  'gre 10.244.1.2 > 10.244.2.2 len 24',
  'protocol-253 10.244.1.2 > 10.244.2.2 len 3',
  'icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 56',
  'icmp 10.244.1.1 > 10.244.1.2 echo-reply id 7 seq 1',
  'icmp 10.244.1.1 > 10.244.1.2 unreachable port (udp 10.244.1.2:4000 > 10.96.0.10:99 len 5)',
  'icmp 10.244.1.1 > 10.244.1.2 unreachable fragmentation-needed mtu 1450 (tcp 10.244.1.2:1 > 10.96.0.10:80 A seq 9 ack 1 win 5)',
  'icmp 10.244.1.1 > 10.244.1.2 time-exceeded (icmp 10.244.1.2 > 8.8.8.8 echo-request id 1 seq 1)',
  'icmp6 fd00::1 > fd00::2 echo-request id 1 seq 2 len 8',
  'icmp6 fd00::1 > fd00::2 too-big mtu 1430 (udp [fd00::2]:4000 > [fd00::3]:99 len 1500)',
  'arp who-has 10.244.1.1 tell 10.244.1.2',
  'arp 10.244.1.1 is-at 0a:58:0a:f4:01:01',
  'vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S seq 1 win 64240)',
  'vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 16777215 (arp who-has 10.244.1.1 tell 10.244.1.2)',
  'ipip 172.18.0.11 > 172.18.0.12 (udp 10.244.1.2:5353 > 10.244.2.2:53 len 31)',
  'udp 10.244.1.2 > 10.244.2.2 len 100 frag id 7 offset 1480',
  'udp 10.244.1.2:1 > 10.244.2.2:2 len 80 frag id 7 offset 0 more',
];

for (const line of LINES) {
  test(`printed as written: ${line}`, () => {
    assert.is(printBytes(frame(line)), line);
  });
}

test('the brief form keeps only what identifies the packet', () => {
  const brief = (text: string): string => printBytes(frame(text), true);
  assert.is(
    brief('tcp 10.244.1.2:4000 > 10.96.0.10:80 SA seq 5 ack 6 win 7 <mss 1460> len 3'),
    'tcp 10.244.1.2:4000 > 10.96.0.10:80 SA',
  );
  assert.is(brief('udp 10.244.1.2:4000 > 10.96.0.10:53 len 3'), 'udp 10.244.1.2:4000 > 10.96.0.10:53');
  assert.is(
    brief('icmp 10.244.1.2 > 10.244.1.1 echo-request id 7 seq 1 len 56'),
    'icmp 10.244.1.2 > 10.244.1.1 echo-request id 7',
  );
  assert.is(
    brief('vxlan 172.18.0.11:49200 > 172.18.0.12:4789 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S)'),
    'vxlan 172.18.0.11 > 172.18.0.12 vni 1 (tcp 10.244.1.2:4000 > 10.244.2.2:80 S)',
  );
});

test('options of the text: payload, MACs, TTL, checksums', () => {
  const bytes = frame('udp 10.244.1.2:4000 > 10.96.0.10:53', {
    payload: 'hello',
    ttl: 3,
    dstMac: '02:00:00:00:00:01',
    udpChecksum: false,
  });
  assert.is(printBytes(bytes), 'udp 10.244.1.2:4000 > 10.96.0.10:53 len 5');
  assert.is(new TextDecoder().decode(bytes.subarray(42)), 'hello');
  assert.equal([bytes[5], bytes[22], bytes[40], bytes[41]], [1, 3, 0, 0]);
  assert.is(printBytes(frame('tcp 1.1.1.1:1 > 2.2.2.2:2 A', { vlan: 5 }), true), 'vlan 5 tcp 1.1.1.1:1 > 2.2.2.2:2 A');
});

test('default MACs are those of the pod and its gateway', () => {
  const bytes = frame('udp 10.244.1.2:4000 > 10.96.0.10:53');
  assert.equal([...bytes.subarray(0, 12)], [0x0a, 0x58, 10, 244, 1, 1, 0x0a, 0x58, 10, 244, 1, 2]);
});

test('an ICMP error that quotes eight bytes of the transport header', () => {
  const text = 'icmp 10.244.1.1 > 10.244.1.2 unreachable port (tcp 10.244.1.2:4000 > 10.96.0.10:99 S seq 77)';
  assert.is(
    printBytes(frame(text, { quotedBytes: 28 })),
    'icmp 10.244.1.1 > 10.244.1.2 unreachable port (tcp 10.244.1.2:4000 > 10.96.0.10:99 seq 77)',
  );
});

test('fragments of a datagram', () => {
  const pieces = fragments(frame('udp 10.244.1.2:1 > 10.244.2.2:2 len 2000', { id: 7 }), 1500);
  assert.equal(
    pieces.map((piece) => printBytes(piece)),
    [
      'udp 10.244.1.2:1 > 10.244.2.2:2 len 2000 frag id 7 offset 0 more',
      'udp 10.244.1.2 > 10.244.2.2 len 528 frag id 7 offset 1480',
    ],
  );
});

test('errors in a frame are shown', () => {
  const bent = (at: number, value: number): string => {
    const bytes = frame('tcp 10.244.1.2:4000 > 10.96.0.10:80 S');
    bytes[at] = value;
    return printBytes(bytes);
  };
  assert.match(bent(22, 9), / !ip-checksum$/);
  assert.match(bent(16, 9), /!total-length 2344/);
  assert.is(
    bent(14, 0x65),
    'protocol-64 4006:2471:af4:102:a60:a:fa0:50 > 0:1::5002:faf0:8ea1:0 len 0 !ethertype of ipv4',
  );
  assert.is(bent(14, 0x41), '!ipv4 header of 4 bytes');
  assert.match(bent(46, 0x40), /!header-length 16/);
  assert.match(bent(46, 0xf0), /!cut/);
  assert.is(bent(12, 0x99), 'ethernet 0a:58:0a:f4:01:02 > 0a:58:0a:f4:01:01 type 0x9900 len 40');
  assert.is(printBytes(new Uint8Array(5)), '!ethernet of 5 bytes');
  assert.is(printBytes(new Uint8Array(0)), '!ethernet of 0 bytes');
});

test('Ethernet padding is not payload', () => {
  assert.is(printBytes(concat(frame('udp 1.1.1.1:1 > 2.2.2.2:2'), new Uint8Array(18))), 'udp 1.1.1.1:1 > 2.2.2.2:2');
});

test('a packet without its Ethernet header, and a frame inside a larger buffer', () => {
  const bytes = packet('udp 10.0.0.1:1 > 10.0.0.2:2 len 3');
  assert.is(printPacket(viewOf(bytes), 0, bytes.length), 'udp 10.0.0.1:1 > 10.0.0.2:2 len 3');
  const arena = concat(new Uint8Array(258).fill(0xee), frame('udp 10.0.0.1:1 > 10.0.0.2:2 len 3'), new Uint8Array(99));
  assert.is(printFrame(viewOf(arena), 258, arena.length - 99, true), 'udp 10.0.0.1:1 > 10.0.0.2:2');
});

test('nested VXLAN is printed to a limited depth', () => {
  let text = 'udp 10.0.0.1:1 > 10.0.0.2:2';
  for (let i = 0; i < 8; i++) text = `vxlan 1.1.1.1:5 > 2.2.2.2:4789 vni 1 (${text})`;
  assert.match(printBytes(frame(text)), /\(…\)/);
});

test('an invalid line is rejected with what was expected', () => {
  assert.throws(() => frame('tcp 10.0.0.1:1 10.0.0.2:2 S'), /expected >, found "10.0.0.2:2"/);
  assert.throws(() => frame('tcp 10.0.0.1:1 > 10.0.0.2:2 S nonsense'), /expected the end, found "nonsense"/);
  assert.throws(() => frame('frob 10.0.0.1 > 10.0.0.2'), /a protocol instead of frob/);
});

test('random and mutated frames: always one line, never an exception', () => {
  const random = seededRandom(SEED);
  const seeds = LINES.map((line) => frame(line));
  const types = [0x08, 0x00, 0x86, 0xdd, 0x08, 0x06, 0x81, 0x00];
  for (let i = 0; i < 60_000; i++) {
    let bytes: Uint8Array;
    if (i & 1) {
      bytes = (seeds[random.below(seeds.length)] ?? new Uint8Array(0)).slice();
      for (let flips = 1 + random.below(8); flips > 0; flips--) bytes[random.below(bytes.length)] = random.word();
    } else {
      bytes = random.bytes(random.below(160));
      const type = 2 * random.below(4);
      if (bytes.length > 15) bytes.set([types[type] ?? 0, types[type + 1] ?? 0, type === 2 ? 0x60 : 0x45], 12);
      if (bytes.length > 30) bytes[23] = [1, 4, 6, 17, 41, 58, 132][random.below(7)] ?? 0;
    }
    // The buffer ends with the frame: a read beyond it throws.
    const cut = bytes.slice(0, random.below(3) === 0 ? random.below(bytes.length + 1) : bytes.length);
    for (const brief of [false, true]) {
      const text = printBytes(cut, brief);
      assert.ok(
        text.length > 0 && !text.includes('\n') && !/undefined|NaN/.test(text),
        `step ${i}, seed ${SEED}: ${text}`,
      );
    }
  }
});

const hexFrame = (text: string): string => printBytes(Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex')));

test('UDP has its own length: what the IP packet has beyond it is stated, and so is what is missing', () => {
  const bytes = frame('udp 10.244.1.2:1 > 10.244.2.2:2 len 20');
  viewOf(bytes).setUint16(14 + 20 + 4, 13);
  assert.match(printBytes(bytes), 'udp 10.244.1.2:1 > 10.244.2.2:2 len 5 trailing 15');
  viewOf(bytes).setUint16(14 + 20 + 4, 29);
  assert.match(printBytes(bytes), 'udp 10.244.1.2:1 > 10.244.2.2:2 len 21 !cut');
});

test('a first fragment of UDP has the length of its datagram', () => {
  const [first] = fragments(frame('udp 10.244.1.2:1 > 10.244.2.2:2 len 3000', { df: false }), 1500);
  assert.match(printBytes(first!), 'len 3000 frag id 0 offset 0 more');
});

test('AE and the reserved bits of a TCP header are shown', () => {
  const bytes = frame('tcp 10.244.1.2:1 > 10.244.2.2:2 SEC seq 1 win 5');
  viewOf(bytes).setUint8(14 + 20 + 12, 0x51);
  assert.is(printBytes(bytes), 'tcp 10.244.1.2:1 > 10.244.2.2:2 SECe seq 1 win 5');
  viewOf(bytes).setUint8(14 + 20 + 12, 0x5a);
  assert.is(printBytes(bytes), 'tcp 10.244.1.2:1 > 10.244.2.2:2 SEC seq 1 win 5 reserved 5');
});

test('GRE is opened: IP, Ethernet, and behind checksum, key and sequence number', () => {
  const ip = packet('udp 10.0.0.1:1 > 10.0.0.2:2 len 3');
  const inner = Buffer.from(ip).toString('hex');
  const ethernet = Buffer.from(frame('udp 10.0.0.1:1 > 10.0.0.2:2 len 3')).toString('hex');
  const around = (gre: string): string => {
    const payload = Uint8Array.from(Buffer.from(gre, 'hex'));
    const bytes = frame(`gre 10.244.1.2 > 10.244.2.2 len ${payload.length}`);
    bytes.set(payload, 14 + 20);
    return printBytes(bytes);
  };
  const opened = 'gre 10.244.1.2 > 10.244.2.2 (udp 10.0.0.1:1 > 10.0.0.2:2 len 3)';
  assert.is(around(`00000800${inner}`), opened);
  assert.is(around(`20000800 00000007${inner}`.replace(' ', '')), opened);
  assert.is(around(`b0000800000000000000000700000001${inner}`), opened);
  assert.is(around(`00006558${ethernet}`), opened);
  assert.is(around('0001880b00000000'), 'gre 10.244.1.2 > 10.244.2.2 len 8', 'PPTP');
  assert.is(around('b0000800'), 'gre 10.244.1.2 > 10.244.2.2 len 4', 'cut');
});

test("the version decides what is inside IPv4's EtherType, and the contradiction is stated", () => {
  const bytes = frame('udp [fd00::2]:1 > [fd00::3]:2 len 4');
  viewOf(bytes).setUint16(12, 0x0800);
  assert.is(printBytes(bytes), 'udp [fd00::2]:1 > [fd00::3]:2 len 4 !ethertype of ipv4');
  assert.match(hexFrame(`0a580af40101 0a580af40102 0800 ${'55'.repeat(20)}`), '!ip version 5');
});

test.run();
