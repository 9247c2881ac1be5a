/** Between nodes: what is sent, what is accepted, and what is dropped. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { frame } from '../lib/frames/frame-text.ts';
import { exchange, TestNode, type TestNodeOptions } from '../lib/test-node.ts';

const A = '10.244.1.2';
const FAR = '10.244.2.2';
const INNER = `tcp ${FAR}:4000 > ${A}:80 S`;
const IPIP: TestNodeOptions = { overlay: 'ipip', podMtu: 1480 };
const HOST_GW: TestNodeOptions = { overlay: 'host-gw', podMtu: 1500 };

const node = (options: TestNodeOptions = {}): TestNode => new TestNode(options).pod('a', A).peer(2).peer(3);
const vxlan = (inner: string, outer = '172.18.0.12:50000 > 172.18.0.11:4789 vni 1'): string =>
  `vxlan ${outer} (${inner})`;
const ipip = (inner: string, outer = '172.18.0.12 > 172.18.0.11'): string => `ipip ${outer} (${inner})`;

test('VXLAN out: from node to node, the source port depends on the flow, no outer checksum', () => {
  const n = node();
  const ports = new Set<string>();
  for (let port = 1000; port < 1020; port++) {
    assert.is(n.receive('a', `udp ${A}:${port} > ${FAR}:53 len 20`), 'encapsulated');
    const [line = ''] = n.sentFully('host');
    const [, source = '', inner] = /^vxlan 172\.18\.0\.11:(\d+) > 172\.18\.0\.12:4789 vni 1 \((.*)\)/.exec(line) ?? [];
    assert.is(inner, `udp ${A}:${port} > ${FAR}:53 len 20`, line);
    assert.ok(Number(source) >= 49152);
    ports.add(source);
  }
  assert.ok(ports.size > 10);
});

for (const [name, options, protocol] of [
  ['VXLAN', {}, 17],
  ['IPIP', IPIP, 4],
] as const) {
  test(`the outer IPv4 header of ${name}: TTL 64, do not fragment, its checksum right, no UDP checksum`, () => {
    const n = node(options);
    const identifications = new Set<number>();
    for (const length of [0, 1, 1000, 1001]) {
      n.receive('a', `udp ${A}:1000 > ${FAR}:53 len ${length}`);
      const [sent] = n.sentFrames('host');
      const view = new DataView((sent as { bytes: Uint8Array }).bytes.buffer, 14);
      assert.is(view.getUint16(0), 0x4500);
      assert.is(view.getUint16(2), (sent as { bytes: Uint8Array }).bytes.length - 14);
      identifications.add(view.getUint16(4));
      assert.is(view.getUint16(6), 0x4000);
      assert.is(view.getUint16(8), (64 << 8) | protocol);
      let sum = 0;
      for (let at = 0; at < 20; at += 2) sum += view.getUint16(at);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      assert.is(sum, 0xffff);
      if (protocol === 17) assert.is(view.getUint16(26), 0);
    }
    assert.is(identifications.size, 4);
  });
}

test('VXLAN in: accepted from a node for its own pods', () => {
  const n = node();
  assert.is(n.receive('host', vxlan(INNER)), 'forwarded');
  assert.equal(n.sent('a'), [INNER]);
});

test('VXLAN from a source that is not a node: an unknown host, or a pod of a node', () => {
  const n = node();
  for (const source of ['172.18.0.99', FAR, '172.18.0.1', A]) {
    assert.is(n.receive('host', vxlan(INNER, `${source}:50000 > 172.18.0.11:4789 vni 1`)), 'vxlan-unknown-peer');
  }
  assert.equal(n.out, []);
});

test("an inner source that is not the sending node's is dropped: another node's, this node's, an unassigned address", () => {
  const n = node();
  for (const source of ['10.244.3.2', A, '10.244.1.1', '172.18.0.13', '172.18.0.11', '8.8.8.8', '10.244.9.9']) {
    assert.is(n.receive('host', vxlan(`tcp ${source}:4000 > ${A}:80 S`)), 'vxlan-inner-source', source);
  }
  assert.equal(n.out, []);
});

test('another VNI, reserved flags and bits, and truncated headers are dropped', () => {
  const n = node();
  assert.is(n.receive('host', vxlan(INNER, '172.18.0.12:50000 > 172.18.0.11:4789 vni 2')), 'vxlan-vni');
  const good = frame(vxlan(INNER), { outer: { dstMac: '0a:58:0a:f4:01:01' }, dstMac: '0a:58:0a:f4:01:01' });
  for (const [offset, value] of [
    [42, 0x00],
    [42, 0x88],
    [43, 0x01],
    [45, 0x80],
    [49, 0x01],
  ] as const) {
    const bytes = good.slice();
    bytes[offset] = value;
    assert.is(n.receiveBytes('host', bytes), 'vxlan-flags', `byte ${offset}`);
  }
  const stump = frame('udp 172.18.0.12:50000 > 172.18.0.11:4789 len 20', { dstMac: '0a:58:0a:f4:01:01' });
  assert.is(n.receiveBytes('host', stump), 'vxlan-truncated');
});

test('an outer checksum that is present must be right', () => {
  const n = node();
  const options = { outer: { dstMac: '0a:58:0a:f4:01:01', udpChecksum: true }, dstMac: '0a:58:0a:f4:01:01' };
  const good = frame(vxlan(INNER), options);
  assert.is(n.receiveBytes('host', good), 'forwarded');
  const bad = good.slice();
  bad[40] = (bad[40] as number) ^ 1;
  assert.is(n.receiveBytes('host', bad), 'vxlan-checksum');
});

test('inner frames that no node sends are dropped: ARP, a VLAN tag, another destination MAC, a group source MAC', () => {
  const n = node();
  assert.is(n.receive('host', vxlan(`arp who-has ${A} tell ${FAR}`)), 'vxlan-inner-frame');
  assert.is(n.receive('host', vxlan(INNER), { vlan: 5 }), 'vlan-tagged');
  const own = { outer: { dstMac: '0a:58:0a:f4:01:01' } };
  assert.is(n.receiveBytes('host', frame(vxlan(INNER), { ...own, dstMac: '0a:58:0a:f4:01:02' })), 'vxlan-inner-frame');
  const group = { ...own, dstMac: '0a:58:0a:f4:01:01', srcMac: '01:00:5e:00:00:01' };
  assert.is(n.receiveBytes('host', frame(vxlan(INNER), group)), 'source-mac-invalid');
});

test('pods may not tunnel to nodes or outside, but to each other', () => {
  const n = node();
  for (const to of ['172.18.0.11', '172.18.0.12', '172.18.0.1']) {
    for (const text of [
      `vxlan ${A}:50000 > ${to}:4789 vni 1 (tcp 10.244.2.2:1 > 10.244.1.3:2 S)`,
      `udp ${A}:50000 > ${to}:8472 len 60`,
      `udp ${A}:50000 > ${to}:6081 len 60`,
      `ipip ${A} > ${to} (tcp 10.244.2.2:1 > 10.244.1.3:2 S)`,
      `gre ${A} > ${to} len 40`,
    ]) {
      const srcMac = '0a:58:0a:f4:01:02';
      assert.is(
        n.receive('a', text, { srcMac, outer: { srcMac, dstMac: '0a:58:0a:f4:01:01' } }),
        'overlay-from-pod',
        text,
      );
    }
  }
  assert.equal(n.out, []);
  assert.is(n.receive('a', `udp ${A}:50000 > ${FAR}:4789 len 60`), 'encapsulated');
});

test('the port of the overlay that the cluster uses is guarded too', () => {
  const n = node({ vxlanPort: 12_345 });
  assert.is(n.receive('a', `udp ${A}:50000 > 172.18.0.12:12345 len 60`), 'overlay-from-pod');
  assert.is(n.receive('host', vxlan(INNER, '172.18.0.12:50000 > 172.18.0.11:12345 vni 1')), 'forwarded');
});

test('a tunnel inside the overlay is dropped, even if another node accepted it', () => {
  const n = node();
  const nested = `udp ${FAR}:50000 > 172.18.0.11:4789 len 80`;
  assert.is(n.receive('host', vxlan(nested)), 'overlay-from-pod');
  const i = node(IPIP);
  assert.is(i.receive('host', ipip(ipip(INNER, `${FAR} > 172.18.0.11`))), 'overlay-from-pod');
  assert.equal([...n.out, ...i.out], []);
});

test('a fragmented overlay packet is not reassembled here: the kernel reassembles or drops it', () => {
  const n = node();
  const first = 'udp 172.18.0.12:50000 > 172.18.0.11:4789 len 64 frag id 5 offset 0 more';
  assert.is(n.receive('host', first), 'to-host');
});

test('IPIP out and in', () => {
  const n = node(IPIP);
  assert.is(n.receive('a', `udp ${A}:1000 > ${FAR}:53 len 20`), 'encapsulated');
  assert.equal(n.sentFully('host'), [`ipip 172.18.0.11 > 172.18.0.12 (udp ${A}:1000 > ${FAR}:53 len 20)`]);
  assert.is(n.receive('host', ipip(`udp ${FAR}:53 > ${A}:1000 len 20`)), 'forwarded');
  assert.equal(n.sentFully('a'), [`udp ${FAR}:53 > ${A}:1000 len 20`]);
});

test('IPIP through the raw socket leaves by a port of its own', () => {
  const n = node({ ...IPIP, rawSocket: true });
  n.receive('a', `udp ${A}:1000 > ${FAR}:53 len 20`);
  const [sent] = n.out;
  assert.is(sent?.port, 31, 'the last port of a table for 32 pods');
  n.out.length = 0;
  // And no pod gets it.
  for (let i = 0; i < 29; i++) n.pod(`more-${i}`, `10.244.1.${10 + i}`);
  assert.throws(() => n.pod('one-more', '10.244.1.99'), /no port is free/);
});

test("IPIP from an unknown node, or with an inner source that is not the sender's, is dropped", () => {
  const n = node(IPIP);
  for (const source of ['172.18.0.99', FAR, '172.18.0.1']) {
    assert.is(n.receive('host', ipip(INNER, `${source} > 172.18.0.11`)), 'ipip-unknown-peer', source);
  }
  for (const source of ['10.244.3.2', A, '172.18.0.13', '8.8.8.8']) {
    assert.is(n.receive('host', ipip(`tcp ${source}:4000 > ${A}:80 S`)), 'ipip-inner-source', source);
  }
  assert.equal(n.out, []);
});

test('IPIP segments merged by the receiving kernel become a super-packet again; merged datagrams are lost', () => {
  const n = node(IPIP);
  // What GRO leaves: one long packet, in its checksum field the pseudo-header's sum (linux tcp4_gro_complete).
  const merged = ipip(`tcp ${FAR}:4000 > ${A}:80 A len 5000`);
  const bytes = frame(merged, { partial: true, outer: { dstMac: '0a:58:0a:f4:01:01' } });
  assert.is(n.receiveBytes('host', bytes), 'forwarded');
  const [sent] = n.sentFrames('a');
  assert.equal([sent?.needsChecksum, sent?.gsoType, sent?.gsoSize], [1, 1, 1440]);
  const datagrams = ipip(`udp ${FAR}:4000 > ${A}:80 len 5000`);
  assert.is(n.receive('host', datagrams, { partial: true, outer: { dstMac: '0a:58:0a:f4:01:01' } }), 'offload-invalid');
});

test('IPIP: a whole packet one byte larger than the MTU, its checksum finished, is no merged one', () => {
  const n = node(IPIP);
  const large = ipip(`tcp ${FAR}:4000 > ${A}:80 A seq 1 ack 1 len 1441`);
  assert.is(n.receive('host', large), 'fragmentation-needed');
  assert.equal(n.sent('a'), []);
  assert.is(n.receive('host', large, { df: false }), 'forwarded');
  const pieces = n.sentFrames('a');
  assert.equal(
    pieces.map(({ gsoType, needsChecksum }) => [gsoType, needsChecksum]),
    [
      [0, 0],
      [0, 0],
    ],
  );
});

test('IPIP around something other than an IPv4 packet is dropped', () => {
  const n = node(IPIP);
  const whole = frame(ipip(INNER), { outer: { dstMac: '0a:58:0a:f4:01:01' } });
  for (let cut = 34; cut < whole.length; cut++) {
    const bytes = whole.slice(0, cut);
    const view = new DataView(bytes.buffer);
    view.setUint16(16, cut - 14);
    view.setUint16(24, 0);
    let sum = 0;
    for (let at = 14; at < 34; at += 2) sum += view.getUint16(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    view.setUint16(24, ~sum & 0xffff);
    const verdict = n.receiveBytes('host', bytes);
    assert.ok(['ipv4-truncated', 'ipv4-total-length'].includes(verdict), `${cut} bytes: ${verdict}`);
  }
  assert.equal(n.out, []);
});

test('packets of an overlay that is not in use are not decapsulated', () => {
  assert.is(node(IPIP).receive('host', vxlan(INNER)), 'to-host');
  assert.is(node(HOST_GW).receive('host', vxlan(INNER)), 'to-host');
  assert.is(node().receive('host', ipip(INNER)), 'to-host');
});

test('host-gw: packets are handed to the kernel, which decrements the TTL, and accepted from it', () => {
  const n = node(HOST_GW);
  assert.is(n.receive('a', `udp ${A}:1000 > ${FAR}:53 len 20`, { ttl: 7 }), 'routed-to-node');
  const [sent] = n.sentFrames('host');
  assert.is(sent?.bytes[22], 7);
  assert.is(n.receive('host', `udp ${FAR}:53 > ${A}:1000 len 20`, { ttl: 6 }), 'forwarded');
  const [back] = n.sentFrames('a');
  assert.is(back?.bytes[22], 6);
});

test("host-gw: an error of the node's kernel about another node's pod reaches that pod", () => {
  const quote = `(udp ${FAR}:1 > ${A}:2 len 20)`;
  const n = node(HOST_GW);
  assert.is(n.receive('host', `icmp 172.18.0.11 > ${FAR} time-exceeded ${quote}`), 'routed-to-node');
  assert.is(n.receive('host', `icmp 172.18.0.1 > ${FAR} time-exceeded ${quote}`), 'icmp-error-unrelated');
  assert.is(n.receive('host', `icmp 172.18.0.11 > ${A} time-exceeded ${quote}`), 'icmp-error-unrelated');
  assert.is(node().receive('host', `icmp 172.18.0.11 > ${FAR} time-exceeded ${quote}`), 'icmp-error-unrelated');
});

for (const options of [{}, IPIP, HOST_GW]) {
  const mode = options.overlay ?? 'vxlan';
  test(`${mode}: a service on another node, and its reply translated back`, () => {
    const one = node(options).service('tcp 10.96.0.10:80', { endpoints: [`${FAR}:8080`], nodePort: 31_418 });
    const two = new TestNode({ ...options, number: 2 }).pod('b', FAR).peer(1);
    one.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`);
    exchange(one, two);
    assert.equal(two.sent('b'), [`tcp ${A}:4000 > ${FAR}:8080 S`]);
    two.receive('b', `tcp ${FAR}:8080 > ${A}:4000 SA seq 9 ack 2`);
    exchange(one, two);
    assert.equal(one.sent('a'), [`tcp 10.96.0.10:80 > ${A}:4000 SA`]);
    one.receive('host', 'tcp 172.18.0.1:5000 > 172.18.0.11:31418 S');
    exchange(one, two);
    assert.equal(two.sent('b'), [`tcp 10.244.1.1:5000 > ${FAR}:8080 S`]);
    two.receive('b', `tcp ${FAR}:8080 > 10.244.1.1:5000 SA seq 9 ack 2`);
    const [answer] = two.sentFrames('host');
    assert.ok(answer);
    answer.bytes.set([0x0a, 0x58, 0x0a, 0xf4, 0x01, 0x01], 0);
    one.receiveBytes('host', answer.bytes);
    assert.equal(one.sent('host'), ['tcp 172.18.0.11:31418 > 172.18.0.1:5000 SA']);
  });

  test(`${mode}: a packet too large for the path to another node gets an error with the MTU`, () => {
    const n = node({ ...options, podMtu: 9000 });
    const room = { vxlan: 1450, ipip: 1480, 'host-gw': 1500 }[mode];
    assert.is(
      n.receive('a', `udp ${A}:1 > ${FAR}:2 len ${room - 28}`),
      mode === 'host-gw' ? 'routed-to-node' : 'encapsulated',
    );
    n.sentFrames('host');
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len ${room - 27}`), 'fragmentation-needed');
    const [line = ''] = n.sentFully('a');
    assert.match(line, new RegExp(`^icmp 10\\.244\\.1\\.1 > ${A} unreachable fragmentation-needed mtu ${room} `));
    assert.equal(n.sentFrames('host'), []);
  });

  test(`${mode}: a packet too large for a pod here: the sender on the other node gets the error`, () => {
    const n = node({ ...options, podMtu: 1300 });
    const inner = `udp ${FAR}:5000 > ${A}:2 len 1400`;
    const text = mode === 'vxlan' ? vxlan(inner) : mode === 'ipip' ? ipip(inner) : inner;
    assert.is(n.receive('host', text), 'fragmentation-needed');
    const [line = ''] = n.sentFully('host');
    assert.match(line, `icmp 10.244.1.1 > ${FAR} unreachable fragmentation-needed mtu 1300 `);
    assert.is(line.startsWith(mode === 'host-gw' ? 'icmp' : mode), true, line);
  });

  test(`${mode}: a SYN's MSS is lowered to fit the path`, () => {
    const n = node({ ...options, podMtu: 9000 });
    n.receive('a', `tcp ${A}:1 > ${FAR}:2 S <mss 8960>`);
    const [line = ''] = n.sentFully('host');
    assert.match(line, `mss ${{ vxlan: 1410, ipip: 1440, 'host-gw': 1460 }[mode]}`);
  });
}

for (const options of [{}, IPIP]) {
  const mode = options.overlay ?? 'vxlan';
  const overhead = mode === 'vxlan' ? 50 : 20;
  const quoted = (from: string, to: string): string =>
    mode === 'vxlan'
      ? `vxlan ${from}:50000 > ${to}:4789 vni 1 (udp ${A}:1 > ${FAR}:2 len 1400)`
      : `ipip ${from} > ${to} (udp ${A}:1 > ${FAR}:2 len 1400)`;
  const report = (n: TestNode, quote: string, mtu = 1400): string =>
    n.receive('host', `icmp 172.18.0.1 > 172.18.0.11 unreachable fragmentation-needed mtu ${mtu} (${quote})`);

  test(`${mode}: a router between the nodes reports its MTU: the next pod that sends a larger packet gets an error`, () => {
    const n = node({ ...options, podMtu: 9000 });
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len 1400`), 'encapsulated');
    assert.is(report(n, quoted('172.18.0.11', '172.18.0.12')), 'to-host');
    n.out.length = 0;
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len 1400`), 'fragmentation-needed');
    const [line = ''] = n.sentFully('a');
    assert.match(line, `fragmentation-needed mtu ${1400 - overhead} `);
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len ${1400 - overhead - 28}`), 'encapsulated');
    assert.is(
      n.receive('a', `udp ${A}:1 > 10.244.3.2:2 len 1400`),
      'encapsulated',
      'the way to another node is another',
    );
    n.sync.forgetPathMtus();
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len 1400`), 'encapsulated');
  });

  test(`${mode}: invalid MTU reports change nothing`, () => {
    const n = node({ ...options, podMtu: 9000 });
    report(n, quoted('172.18.0.99', '172.18.0.12'));
    report(n, quoted('172.18.0.11', '172.18.0.99'));
    report(n, 'udp 172.18.0.11:50000 > 172.18.0.12:53 len 1400');
    report(n, quoted('172.18.0.11', '172.18.0.12'), 5000);
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len 1400`), 'encapsulated');
    report(n, quoted('172.18.0.11', '172.18.0.12'), 68);
    assert.is(
      n.receive('a', `udp ${A}:1 > ${FAR}:2 len ${552 - 28}`),
      'encapsulated',
      'pods are never left less than 552',
    );
    assert.is(n.receive('a', `udp ${A}:1 > ${FAR}:2 len ${552 - 27}`), 'fragmentation-needed');
  });
}

for (const [name, options, whole] of [
  ['VXLAN with tunnel offload', {}, true],
  ['VXLAN without', { features: { tunnelOffload: false, udpSegmentation: false } }, false],
  ['IPIP', IPIP, false],
  ['host-gw', HOST_GW, true],
] as const) {
  test(`a super-packet over ${name} is sent ${whole ? 'whole' : 'in segments'}`, () => {
    const n = node(options);
    const text = `tcp ${A}:1000 > ${FAR}:80 PA seq 100 len 3000`;
    n.receive('a', text, { partial: true, gsoSize: 1400 });
    const sent = n.sentFrames('host');
    assert.is(sent.length, whole ? 1 : 3);
    assert.is(sent[0]?.gsoType, whole ? 1 : 0);
    if (!whole) assert.ok(sent.every(({ needsChecksum }) => needsChecksum === 0));
  });
}

test.run();
