/** Nodes with tables of every kind, and valid frames of every kind that may reach them: the fuzzer's starting point. */
import type { Emitter } from '../../native-free-dataplane/dataplane.ts';
import type { FrameOptions } from './frames/frame-builder.ts';
import { fragments } from './frames/frame-builder.ts';
import { frame } from './frames/frame-text.ts';
import { TestNode, type TestNodeOptions } from './test-node.ts';

const GATEWAY_MAC = '0a:58:0a:f4:01:01';
const NODE_MAC = '02:00:00:00:00:09';

/** Node 1: three pods, two known nodes, services of every type. */
export function fuzzNode(emitter: Emitter, options: TestNodeOptions): TestNode {
  const node = new TestNode({ number: 1, maxConntrack: 512, emitter, ...options });
  node.pod('a', '10.244.1.2', [{ protocol: 'TCP', port: 80 }]);
  node.pod('b', '10.244.1.3', [
    { protocol: 'TCP', port: 8080 },
    { protocol: 'UDP', port: 53 },
  ]);
  node.pod('c', '10.244.1.4');
  node.peer(2).peer(3);
  const everywhere = ['10.244.1.3:8080', '10.244.2.2:8080', '10.244.3.2:8080'];
  node.service('tcp 10.96.0.10:80', { endpoints: everywhere, nodePort: 31418, externalIP: '192.0.2.10' });
  node.service('udp 10.96.0.10:53', { endpoints: ['10.244.1.3:53', '10.244.2.2:53'], affinitySeconds: 10 });
  node.service('sctp 10.96.0.10:7', { endpoints: ['10.244.1.4:7', '10.244.2.2:7'] });
  node.service('tcp 10.96.0.11:80', { endpoints: everywhere, maglev: true, internalLocal: true });
  node.service('tcp 10.96.0.12:80', { endpoints: [], nodePort: 30001 });
  node.service('udp 10.96.0.12:53', { endpoints: [] });
  node.service('tcp 10.96.0.13:443', {
    endpoints: ['10.244.1.2:80'],
    externalLocal: true,
    nodePort: 30443,
    loadBalancerIP: '192.0.2.20',
    sourceRanges: ['203.0.113.0/24'],
  });
  node.service('tcp 10.96.0.14:80', { endpoints: ['10.244.2.2:80'], externalLocal: true, nodePort: 30002 });
  node.service('udp 10.96.0.15:9999', { endpoints: ['172.18.0.11:9999', '198.51.100.7:9999'], nodePort: 30003 });
  return node;
}

/** A frame and the port it arrives at; `gso` if it can be sent as a super-packet. */
export interface SeedFrame {
  from: string;
  bytes: Uint8Array;
  gso: boolean;
}

const PODS: Record<string, string> = { a: '10.244.1.2', b: '10.244.1.3', c: '10.244.1.4' };
const TARGETS = [
  ...Object.values(PODS),
  '10.244.1.1',
  '10.244.1.99',
  '10.244.2.2',
  '10.244.3.2',
  '10.244.9.9',
  '10.96.0.10',
  '10.96.0.11',
  '10.96.0.12',
  '10.96.0.13',
  '10.96.0.77',
  '172.18.0.11',
  '172.18.0.12',
  '192.0.2.10',
  '192.0.2.20',
  '198.51.100.7',
  '127.0.0.1',
];
const STRANGERS = ['203.0.113.5', '172.18.0.1', '172.18.0.11', '10.244.1.1', '198.51.100.7', '127.0.0.1', '10.244.2.2'];

/** Packets between two addresses: as the text of a frame, with options. */
function conversation(src: string, dst: string): [string, FrameOptions][] {
  const tcp = (ports: string, rest: string): string => {
    const [from, to] = ports.split('>');
    return `tcp ${src}:${from} > ${dst}:${to} ${rest}`;
  };
  const quoted = `tcp ${dst}:8080 > ${src}:4000 A`;
  return [
    [tcp('4000>80', 'S seq 100 <mss 1460, sackOK, ts 1 0, nop, wscale 7>'), {}],
    [tcp('4000>80', 'A seq 101 ack 1 len 300'), {}],
    [tcp('4000>80', 'FA seq 401 ack 1'), {}],
    [tcp('4001>8080', 'S seq 7 <nop, mss 9000>'), { ttl: 1 }],
    [tcp('4000>31418', 'S seq 5'), {}],
    [tcp('100>30001', 'S seq 5'), {}],
    [tcp('4002>443', 'R seq 5'), {}],
    [tcp('8080>4000', 'SA seq 9 ack 101'), {}],
    [tcp('0>80', 'S'), {}],
    [tcp('4003>5000', 'SFPU'), {}],
    [tcp('4000>80', 'PA seq 101 ack 1 len 2900'), { df: false, id: 77 }],
    [`udp ${src}:5353 > ${dst}:53 len 64`, {}],
    [`udp ${src}:5353 > ${dst}:53 len 3000`, { df: false, id: 9 }],
    [`udp ${src}:53 > ${dst}:5353 len 65`, { udpChecksum: false }],
    [`udp ${src}:9 > ${dst}:30003 len 0`, {}],
    [`udp ${src}:9 > ${dst}:9999 len 1472`, {}],
    [`udp ${src}:9 > ${dst}:4789 len 40`, {}],
    [`sctp ${src}:7 > ${dst}:7 len 40`, {}],
    [`icmp ${src} > ${dst} echo-request id 7 seq 1 len 56`, {}],
    [`icmp ${src} > ${dst} echo-request id 8 seq 1 len 2001`, { df: false, ttl: 1 }],
    [`icmp ${src} > ${dst} echo-reply id 7 seq 1 len 56`, {}],
    [`icmp ${src} > ${dst} unreachable fragmentation-needed mtu 1300 (${quoted})`, {}],
    [`icmp ${src} > ${dst} unreachable port (udp ${dst}:53 > ${src}:5353 len 64)`, {}],
    [`icmp ${src} > ${dst} time-exceeded (icmp ${dst} > ${src} echo-request id 7 seq 1 len 8)`, { quotedBytes: 28 }],
    [`ipip ${src} > ${dst} (tcp ${src}:1 > ${dst}:2 S)`, {}],
  ];
}

const IPV6: string[] = [
  'tcp [fd00::2]:4000 > [fd00::3]:80 S',
  'udp [fd00::2]:53 > [fd00::3]:53 len 31',
  'icmp6 fd00::2 > fd00::3 echo-request id 1 seq 1 len 8',
];

/** Every kind of frame, in a fixed order. */
export function seedFrames(): SeedFrame[] {
  const seeds: SeedFrame[] = [];
  const add = (from: string, bytes: Uint8Array, gso: boolean): void => {
    seeds.push({ from, bytes, gso });
    if (bytes.length > 1000 && !gso) for (const piece of fragments(bytes, 600)) seeds.push({ from, bytes: piece, gso });
  };
  const isBulk = (text: string): boolean => / len (300|2900|3000|1472)$/.test(text) && !text.includes('(');
  for (const [name, src] of Object.entries(PODS)) {
    const macs = { srcMac: `0a:58:0a:f4:01:0${src.at(-1)}`, dstMac: GATEWAY_MAC };
    for (const dst of TARGETS) {
      for (const [text, options] of conversation(src, dst)) {
        const outer = text.startsWith('ipip') ? { outer: macs } : {};
        add(name, frame(text, { ...macs, ...outer, ...options }), isBulk(text));
      }
      add(name, frame(`arp who-has ${dst} tell ${src}`, { srcMac: macs.srcMac }), false);
    }
    const neighbour = src === '10.244.1.2' ? '10.244.1.3' : '10.244.1.2';
    const switched = { ...macs, dstMac: `0a:58:0a:f4:01:0${neighbour.at(-1)}` };
    for (const [text, options] of conversation(src, neighbour).slice(0, 20)) {
      add(name, frame(text, { ...switched, ...options }), isBulk(text));
    }
    for (const text of IPV6) add(name, frame(text, macs), false);
    add(name, frame(`arp ${src} is-at ${macs.srcMac}`), false);
    add(name, frame(`tcp ${src}:1 > 10.244.1.3:80 S`, { ...macs, vlan: 7 }), false);
    add(name, frame(`udp ${src}:1 > 224.0.0.1:80 len 3`, { ...macs, dstMac: '01:00:5e:00:00:01' }), false);
    const route = { ...macs, ipOptions: Uint8Array.of(131, 7, 4, 10, 0, 0, 1, 0) };
    add(name, frame(`udp ${src}:1 > 10.244.2.2:80 len 3`, route), false);
  }
  const host = { srcMac: NODE_MAC, dstMac: GATEWAY_MAC };
  for (const src of STRANGERS) {
    for (const dst of TARGETS) {
      for (const [text, options] of conversation(src, dst)) {
        const outer = text.startsWith('ipip') ? { outer: host } : {};
        add('host', frame(text, { ...host, ...outer, ...options }), isBulk(text));
      }
    }
  }
  const bulk: FrameOptions = { srcMac: '0a:58:0a:f4:01:02', dstMac: GATEWAY_MAC };
  for (const dst of ['10.244.1.3', '10.244.2.2', '10.96.0.10']) {
    add('a', frame(`tcp 10.244.1.2:4000 > ${dst}:80 A seq 101 ack 1 len 60000`, bulk), true);
  }
  // The overlay: from peers and unknown hosts, to this node and others.
  for (const peer of ['172.18.0.12', '172.18.0.13', '172.18.0.66']) {
    const inner = peer.endsWith('13') ? '10.244.3.2' : '10.244.2.2';
    for (const dst of ['10.244.1.2', '10.244.1.3', '10.96.0.10', '10.244.1.1', '10.244.2.9']) {
      for (const [text, options] of conversation(inner, dst)) {
        if (text.startsWith('ipip')) continue;
        const wrapped = { ...options, dstMac: GATEWAY_MAC, outer: host };
        add('host', frame(`vxlan ${peer}:50000 > 172.18.0.11:4789 vni 1 (${text})`, wrapped), isBulk(text));
        const around = { ...options, outer: host };
        add('host', frame(`ipip ${peer} > 172.18.0.11 (${text})`, around), false);
      }
    }
    const arp = `vxlan ${peer}:50000 > 172.18.0.11:4789 vni 1 (arp who-has 10.244.1.2 tell ${inner})`;
    add('host', frame(arp, { outer: host }), false);
    const vni = `vxlan ${peer}:50000 > 172.18.0.11:4789 vni 2 (udp ${inner}:1 > 10.244.1.2:2 len 3)`;
    add('host', frame(vni, { dstMac: GATEWAY_MAC, outer: { ...host, udpChecksum: true } }), false);
  }
  return seeds;
}
