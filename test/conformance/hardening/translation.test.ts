/**
 * Errors of other implementations in translation, each test named after its report: clashes, exhaustion, stray
 * segments, shadowed ports, inconsistent fragments.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FragmentWord } from '../../../native-free-dataplane/fragments/slots.ts';
import { PortsInUse } from '../../../src/agent/underlay/ports-in-use.ts';
import { conntrackFaults } from '../../lib/conntrack-check.ts';
import { fragments } from '../../lib/frames/frame-builder.ts';
import { repairHeaderChecksum } from '../../lib/frames/frame-residue.ts';
import { frame } from '../../lib/frames/frame-text.ts';
import {
  A,
  B,
  entries,
  GATEWAY,
  isPacket,
  NODE,
  natNode,
  OTHER,
  onlySent,
  portsOf,
  SERVER,
  tableWords,
} from '../../lib/nat-node.ts';
import { seededRandom } from '../../lib/seeded-random.ts';
import { exchange, TestNode } from '../../lib/test-node.ts';

/** A connection of pod a through a service to pod b:8080, established; ISNs 100 and 500. */
function throughService(): TestNode {
  const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:8080`] });
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S seq 100`);
  n.receive('b', `tcp ${B}:8080 > ${A}:4000 SA seq 500 ack 101`);
  n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 A seq 101 ack 501`);
  n.out.length = 0;
  return n;
}

/** Data in both directions, translated. */
function stillWorks(n: TestNode): void {
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 PA seq 101 ack 501 len 10`), 'forwarded');
  isPacket(onlySent(n, 'b'), `tcp ${A}:4000 > ${B}:8080 PA seq 101 ack 501 len 10`, { ttl: 63 });
  assert.is(n.receive('b', `tcp ${B}:8080 > ${A}:4000 PA seq 501 ack 111 len 20`), 'forwarded');
  isPacket(onlySent(n, 'a'), `tcp 10.96.0.10:80 > ${A}:4000 PA seq 501 ack 111 len 20`, { ttl: 63 });
}

test('kubernetes #74839, #117924, #74840, #94861: a stray segment of the server never reaches the client with the server’s own address', () => {
  const n = throughService();
  for (const seq of [501 + 100_000_000, 501 - 100_000_000, 0x7fffffff]) {
    for (const flags of ['A', 'PA', 'FA', 'R', 'RA', 'SA']) {
      n.receive('b', `tcp ${B}:8080 > ${A}:4000 ${flags} seq ${seq >>> 0} ack 101`);
      for (const line of n.sent('a')) assert.match(line, /^tcp 10\.96\.0\.10:80 > /, `${flags} seq ${seq}`);
      assert.equal(n.out, [], 'and it gets no reply');
    }
  }
  stillWorks(n);
});

test('RFC 5961 through a translation: blind resets and SYNs, from either side, end nothing', () => {
  const n = throughService();
  const random = seededRandom(5961);
  for (let i = 0; i < 2000; i++) {
    // Guesses beyond the offered window.
    const seq = (501 + 70_000 + random.below(0xffff0000)) >>> 0;
    n.receive('b', `tcp ${B}:8080 > ${A}:4000 R seq ${seq}`);
    n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 ${i & 1 ? 'R' : 'S'} seq ${seq}`);
  }
  n.out.length = 0;
  assert.is(n.flows, 1);
  // Resets from both sides that do not fit shorten the timeout to five minutes (linux nf_tcp_handle_invalid); the next
  // packet that fits restores the day.
  assert.ok(entries(n)[0]!.life >= 300_000);
  stillWorks(n);
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 A seq 111 ack 521`), 'forwarded');
  assert.is(entries(n)[0]!.life, 86_400_000);
});

test('openshift/sdn #269, felix #2983: one source port to a service and directly to its endpoint: both work', () => {
  for (const serviceFirst of [true, false]) {
    const n = natNode().service('tcp 10.96.0.10:80', { endpoints: [`${B}:80`] });
    const asks = [`tcp ${A}:4000 > 10.96.0.10:80 S seq 100`, `tcp ${A}:4000 > ${B}:80 S seq 900`];
    if (!serviceFirst) asks.reverse();
    const ports = asks.map((text) => {
      assert.is(n.receive('a', text), 'forwarded');
      return portsOf(onlySent(n, 'b'))[0];
    });
    assert.is(ports[0], 4000);
    assert.is.not(ports[1], 4000, 'they would look alike to the endpoint');
    assert.is(n.flows, 2);
    const answered = ports.map((port, i) => {
      const seq = /seq (\d+)/.exec(asks[i]!)![1];
      assert.is(n.receive('b', `tcp ${B}:80 > ${A}:${port} SA seq 7 ack ${Number(seq) + 1}`), 'forwarded');
      return n.sent('a')[0];
    });
    const service = `tcp 10.96.0.10:80 > ${A}:4000 SA`;
    const direct = `tcp ${B}:80 > ${A}:4000 SA`;
    assert.equal(answered, serviceFirst ? [service, direct] : [direct, service]);
  }
});

test('openshift/sdn #269: one client port to one endpoint through two nodes', () => {
  const service = { endpoints: ['10.244.1.3:80'], nodePort: 31418 };
  const one = new TestNode({ number: 1 }).pod('b', B).peer(2).service('tcp 10.96.0.10:80', service);
  const two = new TestNode({ number: 2 }).peer(1).service('tcp 10.96.0.10:80', service);
  one.receive('host', `tcp ${SERVER}:5000 > 172.18.0.11:31418 S seq 100`);
  assert.equal(one.sent('b'), [`tcp 10.244.1.1:5000 > ${B}:80 S`]);
  two.receive('host', `tcp ${SERVER}:5000 > 172.18.0.12:31418 S seq 900`);
  exchange(one, two);
  assert.equal(one.sent('b'), [`tcp 10.244.2.1:5000 > ${B}:80 S`]);
  one.receive('b', `tcp ${B}:80 > 10.244.2.1:5000 SA seq 7 ack 901`);
  const answer = onlySent(one, 'host').bytes;
  answer.set([0x0a, 0x58, 0x0a, 0xf4, 0x02, 0x01]);
  assert.is(two.receiveBytes('host', answer), 'to-host');
  assert.equal(two.sent('host'), [`tcp 172.18.0.12:31418 > ${SERVER}:5000 SA`]);
  one.receive('b', `tcp ${B}:80 > 10.244.1.1:5000 SA seq 7 ack 101`);
  assert.equal(one.sent('host'), [`tcp 172.18.0.11:31418 > ${SERVER}:5000 SA`]);
});

test('CVE-2021-3773 (nft_nat.sh port shadow), openwrt #16143: no pod’s source port shadows a port of the node', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31418 });
  // The pod sends from the NodePort's number, a listener's, the overlay's, to a host that will then connect.
  for (const port of [31418, 22, 53, 4789, 10250, 6443]) {
    n.out.length = 0;
    n.receive('a', `udp ${A}:${port} > ${SERVER}:7777 len 8`);
    const [outside] = portsOf(onlySent(n, 'host'));
    const [low, high] = port < 1024 ? [600, 1023] : [32768, 49151];
    assert.ok(outside >= low && outside <= high, `${port} became ${outside}`);
    const verdict = n.receive('host', `udp ${SERVER}:7777 > ${NODE}:${port} len 8`);
    if (port === 31418) {
      assert.is(verdict, 'forwarded');
      isPacket(onlySent(n, 'b'), `udp ${GATEWAY}:7777 > ${B}:53 len 8`);
    } else assert.is(n.sentFrames('a').length, 0, `${port}: ${verdict}`);
  }
});

test('a masqueraded UDP connection never gets the port of a tunnel, on which its replies would be dropped', () => {
  const n = natNode().service('udp 10.96.0.10:53', { endpoints: [`${B}:53`], nodePort: 31418 });
  for (const port of [4789, 8472, 6080, 6081, 4790]) {
    n.out.length = 0;
    n.receive('host', `udp ${SERVER}:${port} > ${NODE}:31418 len 8`);
    const [outside] = portsOf(onlySent(n, 'b'));
    assert.is.not(outside, port);
    n.out.length = 0;
    assert.is(n.receive('b', `udp ${B}:53 > ${GATEWAY}:${outside} len 8`), 'to-host', `client port ${port}`);
    isPacket(onlySent(n, 'host'), `udp ${NODE}:31418 > ${SERVER}:${port} len 8`);
  }
});

function setPortsInUse({ conntrack }: TestNode, ...ports: number[]): void {
  const part = new PortsInUse({
    table: conntrack,
    hostPorts: () => [],
    log: () => {},
    read: () => ({ open: new Set(ports), loopback: new Set() }),
  });
  part.start();
  part.close();
}

test('CVE-2021-3773: a port in use by a socket of the node is not allocated to a pod, although it is in the range', () => {
  const n = natNode({ masqueradePorts: [40000, 40003] });
  setPortsInUse(n, 40000, 40002, 640);
  const got = [40000, 40001, 40002, 40003, 640].map((port) => {
    n.receive('a', `udp ${A}:${port} > ${SERVER}:${1000 + port} len 8`);
    return portsOf(onlySent(n, 'host'))[0];
  });
  assert.is(got[1], 40001);
  assert.is(got[3], 40003);
  assert.ok([40001, 40003].includes(got[0]!) && [40001, 40003].includes(got[2]!), got.join());
  assert.ok(got[4]! >= 600 && got[4]! <= 1023 && got[4] !== 640, `640 became ${got[4]}`);
  // Once the node's socket is closed its port can be used.
  setPortsInUse(n);
  n.receive('b', `udp ${B}:40002 > ${SERVER}:9 len 8`);
  assert.is(portsOf(onlySent(n, 'host'))[0], 40002);
});

test('OVS "conntrack - SNAT with port range with exhaustion": refused with a reason, live connections are not affected', () => {
  const n = natNode({ masqueradePorts: [40000, 40003] });
  const taken = new Set<number>();
  for (let port = 5000; port < 5004; port++) {
    n.receive('a', `tcp ${A}:${port} > ${SERVER}:80 S seq ${port}`);
    const [outside] = portsOf(onlySent(n, 'host'));
    n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${outside} SA seq 70 ack ${port + 1}`);
    n.receive('a', `tcp ${A}:${port} > ${SERVER}:80 A seq ${port + 1} ack 71`);
    n.out.length = 0;
    taken.add(outside);
  }
  assert.equal([...taken].sort(), [40000, 40001, 40002, 40003]);
  n.countersMoved();
  const before = tableWords(n);
  for (let i = 0; i < 10; i++) {
    assert.is(n.receive('b', `tcp ${B}:5000 > ${SERVER}:80 S seq 1`), 'rejected-prohibited');
    assert.equal(n.sent('b'), [`icmp ${GATEWAY} > ${B} unreachable prohibited (tcp ${B}:5000 > ${SERVER}:80 S)`]);
  }
  assert.equal(n.countersMoved(), { 'rejected-prohibited': 10 });
  assert.equal(tableWords(n).subarray(0, before.length), before, 'no mapping was changed');
  assert.is(n.flows, 4);
  // Another destination has all its ports free; and so has this one when a connection ends.
  assert.is(n.receive('b', `tcp ${B}:5000 > ${OTHER}:80 S seq 1`), 'to-host');
  const [first] = [...taken];
  assert.is(n.receive('host', `tcp ${SERVER}:80 > ${NODE}:${first} RA seq 71 ack 5001`), 'forwarded');
  n.out.length = 0;
  assert.is(n.receive('b', `tcp ${B}:5000 > ${SERVER}:80 S seq 1`), 'to-host');
  assert.is(portsOf(onlySent(n, 'host'))[0], first);
  assert.equal(conntrackFaults(n.conntrack), []);
});

test('OVS "conntrack - SNAT port clash": the same packets get the same ports, and a live tuple is never allocated twice', () => {
  const run = (): number[] => {
    const n = natNode({ maxConntrack: 8192, seed: 11 }).pod('c', '10.244.1.4').pod('d', '10.244.1.5');
    const seen: number[] = [];
    for (let port = 33000; port < 33500; port++) {
      for (const [pod, address] of [
        ['a', A],
        ['b', B],
        ['c', '10.244.1.4'],
        ['d', '10.244.1.5'],
      ] as const) {
        assert.is(n.receive(pod, `udp ${address}:${port} > ${SERVER}:53 len 4`), 'to-host');
        seen.push(portsOf(onlySent(n, 'host'))[0]);
      }
    }
    assert.is(new Set(seen).size, seen.length);
    assert.equal(conntrackFaults(n.conntrack), []);
    return seen;
  };
  assert.equal(run(), run());
});

test('CVE-2023-1668, antrea #4959: each of the 256 protocols is a connection of its own and admits no other protocol', () => {
  const n = natNode();
  const special = new Set([1, 4, 6, 17, 41, 47, 132]);
  const name = (protocol: number): Uint8Array => {
    const bytes = frame(`esp ${A} > ${SERVER} len 24`);
    const view = new DataView(bytes.buffer);
    view.setUint8(23, protocol);
    repairHeaderChecksum(view, 14);
    return bytes;
  };
  let flows = 0;
  for (let protocol = 0; protocol < 256; protocol++) {
    if (special.has(protocol)) continue;
    assert.is(n.receiveBytes('a', name(protocol)), 'to-host', `protocol ${protocol}`);
    assert.is(n.flows, ++flows, `protocol ${protocol}`);
    n.out.length = 0;
  }
  assert.is(n.receive('host', `tcp ${SERVER}:80 > ${NODE}:40000 SA seq 1 ack 1`), 'to-host');
  assert.is(n.receive('host', `udp ${SERVER}:80 > ${NODE}:40000 len 4`), 'to-host');
  assert.is(n.receive('host', `esp ${SERVER} > ${NODE} len 4`), 'forwarded');
});

test('OVS 40225b0c0, CVE-2017-9264: frames truncated at every length: nothing beyond the end is read', () => {
  const frames = [
    `tcp ${A}:4000 > ${SERVER}:80 S seq 1`,
    `udp ${A}:4000 > ${SERVER}:53 len 4`,
    `icmp ${A} > ${SERVER} echo-request id 1 seq 1 len 4`,
    `icmp ${A} > ${B} unreachable port (udp ${B}:1 > ${A}:2 len 4)`,
    `sctp ${A}:4000 > ${SERVER}:80 len 4`,
  ];
  const n = natNode();
  for (const text of frames) {
    const whole = frame(text);
    const view = new DataView(whole.buffer);
    for (let l3Bytes = 0; l3Bytes < whole.length - 14; l3Bytes++) {
      const cut = whole.slice(0, 14 + l3Bytes);
      // Bytes after the frame in the arena must not complete it.
      n.pkt.bytes.set(whole, 258);
      if (l3Bytes >= 20) {
        const its = new DataView(cut.buffer);
        its.setUint16(16, l3Bytes);
        repairHeaderChecksum(its, 14);
      }
      const verdict = n.receiveBytes('a', cut);
      const least = view.getUint8(23) === 6 ? 20 : view.getUint8(23) === 132 ? 12 : 8;
      if (l3Bytes < 20 + least) assert.equal(n.out, [], `${text}, ${l3Bytes} bytes: ${verdict}`);
      n.out.length = 0;
    }
  }
});

test('CVE-2000-0305, OVS b34cd6119, 7954d04a8, RFC 5722: overlapping fragments drop a translated datagram, its connection continues', () => {
  const n = natNode();
  const whole = (id: number): Uint8Array[] =>
    fragments(frame(`udp ${A}:40000 > ${SERVER}:53 len 400`, { id, df: false }), 220);
  const [first, second, third] = whole(1) as [Uint8Array, Uint8Array, Uint8Array];
  assert.is(n.receiveBytes('a', first), 'to-host');
  // Eight bytes to the left of where it should be.
  const overlapping = second.slice();
  const view = new DataView(overlapping.buffer);
  view.setUint16(20, view.getUint16(20) - 1);
  repairHeaderChecksum(view, 14);
  assert.is(n.receiveBytes('a', overlapping), 'fragment-overlap');
  assert.is(n.receiveBytes('a', second), 'fragment-overlap');
  assert.is(n.receiveBytes('a', third), 'fragment-overlap');
  n.out.length = 0;
  for (const piece of whole(2)) assert.is(n.receiveBytes('a', piece), 'to-host');
  assert.is(n.sentFrames('host').length, 3);
});

test('CVE-2018-5391 (FragmentSmack), VU#641765: a flood of fragments in random order takes bounded memory and no other packet', () => {
  const n = natNode();
  const random = seededRandom(5391);
  n.receive('b', `udp ${B}:40000 > ${SERVER}:53 len 8`);
  n.out.length = 0;
  const { words, max } = n.dataplane.fragments;
  for (let i = 0; i < 20_000; i++) {
    const offset = 8 + 8 * random.below(1000);
    const more = random.below(2) === 0 ? 'more' : '';
    n.receive('a', `udp ${A} > ${SERVER} len 64 frag id ${random.below(60_000)} offset ${offset} ${more}`);
    if (i % 10 !== 0) continue;
    assert.is(n.receive('b', `udp ${B}:40000 > ${SERVER}:53 len 8`), 'to-host');
    assert.is(onlySent(n, 'host').bytes.length, 50);
    assert.ok(words[FragmentWord.COUNT]! <= max);
  }
  // A fragmented datagram, in order, gets through meanwhile.
  for (const piece of fragments(frame(`udp ${B}:40000 > ${SERVER}:53 len 3000`, { id: 3, df: false }), 1450)) {
    assert.is(n.receiveBytes('b', piece), 'to-host');
  }
  assert.is(n.flows, 1);
});

test('suricata security-8510: a datagram is identified by protocol and addresses, not by its identification alone', () => {
  const n = natNode();
  n.receive('a', `udp ${A}:40000 > ${SERVER}:53 len 64 frag id 5 offset 0 more`);
  n.out.length = 0;
  for (const other of [
    `tcp ${A} > ${SERVER} len 64 frag id 5 offset 72`,
    `udp ${A} > ${OTHER} len 64 frag id 5 offset 72`,
    `udp ${A} > ${SERVER} len 64 frag id 6 offset 72`,
  ]) {
    assert.is(n.receive('a', other), 'fragment-held', other);
  }
  assert.is(n.receive('b', `udp ${B} > ${SERVER} len 64 frag id 5 offset 72`), 'fragment-held');
  assert.is(n.receive('a', `udp ${A} > ${SERVER} len 64 frag id 5 offset 72`), 'to-host');
});

test('CVE-2018-5390: segments in any order are forwarded at once; no connection has a queue that could grow', () => {
  const n = natNode();
  const server = () => portsOf(n.sentFrames('host').at(-1)!)[0];
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:443 S seq 100 win 60000`);
  const port = server();
  n.receive('host', `tcp ${SERVER}:443 > ${NODE}:${port} SA seq 900 ack 101 win 60000`);
  n.receive('a', `tcp ${A}:40000 > ${SERVER}:443 A seq 101 ack 901 win 60000`);
  n.out.length = 0;
  // From the end of the window to its beginning, every other byte.
  for (let at = 20_000; at > 0; at -= 2)
    assert.is(n.receive('a', `tcp ${A}:40000 > ${SERVER}:443 PA seq ${101 + at} ack 901 win 60000 len 1`), 'to-host');
  assert.is(n.out.length, 10_000);
  assert.is(n.receive('host', `tcp ${SERVER}:443 > ${NODE}:${port} A seq 901 ack 101 win 60000`), 'forwarded');
});

test.run();
