/**
 * Our translation against the kernel's: the same seeded packets go to a node of ours and to equivalent nftables rules,
 * and the output of both is compared byte for byte. Not compared: the TTL (both decrement it, at different places) and
 * a source port that had to be changed, which either may choose freely; its checksum must be right then. Intended
 * differences are listed in docs/semantics.md and named here. Needs root, TUN, nft and conntrack.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { concat, type FrameOptions, fragments, viewOf } from '../lib/frames/frame-builder.ts';
import { repairChecksums } from '../lib/frames/frame-residue.ts';
import { packet } from '../lib/frames/frame-text.ts';
import { reversePacket, transportAt, withTtl } from '../lib/frames/reverse-packet.ts';
import { KernelNat, type Out, type Side } from '../lib/kernel/nat.ts';
import { Compared, type Forwarder, Pair, ROUTER, SERVER, WAYS, type Way } from '../lib/kernel/nat-pair.ts';
import { times } from '../lib/long-form.ts';
import { A, B } from '../lib/nat-node.ts';
import { type Random, seededRandom } from '../lib/seeded-random.ts';

const CONVERSATIONS = Number(process.env.NAT_CONVERSATIONS ?? times(120, 1000));
/** Ports of the class 600-1023, and connections beyond their number in the test of their reuse. */
const PORTS = 424;
const MORE_THAN_PORTS = 60;
const SEED = Number(process.env.NAT_SEED ?? 1);

const test = suite('NAT: ours and the kernel’s');
let compared: Compared;

test.before(() => {
  compared = new Compared(new KernelNat(`dpt-nat-${process.pid}`));
});

test.after(() => {
  compared?.kernel.close();
});

const both = (bytes: Uint8Array): [Uint8Array, Uint8Array] => [bytes, bytes];

/** The reply to what each saw: reversed and changed in the same way. */
function answerTo(
  seen: readonly [Uint8Array, Uint8Array],
  change: (bytes: Uint8Array) => void,
): [Uint8Array, Uint8Array] {
  return seen.map((bytes) => {
    const answer = withTtl(reversePacket(bytes), 64);
    change(answer);
    repairChecksums(viewOf(answer), 0, answer.length, true, false);
    return answer;
  }) as [Uint8Array, Uint8Array];
}

const NOTHING_SPECIAL = Uint8Array.of(1, 148, 4, 0, 0, 1, 1, 0);

function someOptions(random: Random): FrameOptions {
  return {
    id: random.below(65536),
    df: random.below(2) === 0,
    ...(random.below(3) === 0 ? { ipOptions: NOTHING_SPECIAL } : {}),
  };
}

/** ICMP of every type and code about what each saw, from its receiver or from a router on the path. */
function sendErrors(pair: Pair, from: Side, seen: readonly [Uint8Array, Uint8Array], random: Random): void {
  const l4 = transportAt(seen[0]);
  for (const type of [3, 3, 3, 4, 5, 11, 12, 9, 10, 30, 37]) {
    const code = type === 3 ? random.below(16) : random.below(2);
    const whole = seen[0].length;
    // A router reports less than what did not fit; ours drops other reports (RFC 5927 §7).
    const mtu = whole - 1 - random.below(20);
    const rest = type === 3 && code === 4 ? mtu : type === 12 ? random.word() : 0;
    // We correct a quote that ends between a TCP checksum and the end of its header, the kernel does not.
    const quoted = Math.min([l4 + 8, l4 + 8, l4 + 28, whole, 548][random.below(5)]!, whole);
    const byRouter = from === 'host' && random.below(2) === 0;
    const errors = seen.map((about) => errorAbout(about, type, code, rest, quoted, byRouter, random)) as [
      Uint8Array,
      Uint8Array,
    ];
    const damaged = random.below(6) === 0;
    if (type === 5 && !pair.translated) {
      // Differs: the kernel drops redirects about translated connections only, we drop all (CVE-2020-10749).
      assert.equal(compared.ours.send(from, errors[0]), []);
      continue;
    }
    if (damaged) for (const error of errors) error[error.length - 1]! ^= 0x10;
    if (pair.way.client === 'host' && from === 'host' && byRouter && !damaged && [3, 4, 11, 12].includes(type)) {
      // Differs: the kernel hides the router behind the translated source; the pod sees our router's own address.
      const our = compared.ours.send(from, errors[0]);
      const its = compared.kernel.send(from, errors[1]);
      assert.equal([our.length, its.length], [1, 1]);
      const [one, two] = [our[0]!.bytes.slice(), its[0]!.bytes.slice()];
      assert.equal([...one.subarray(12, 16)], [...ROUTER]);
      one.set(two.subarray(12, 16), 12);
      pair.compare(withTtl(one, 64), two);
      compared.count.packets++;
      continue;
    }
    pair.send(from, errors);
  }
}

function errorAbout(
  about: Uint8Array,
  type: number,
  code: number,
  rest: number,
  quoted: number,
  byRouter: boolean,
  random: Random,
): Uint8Array {
  const header = new Uint8Array(28);
  const view = viewOf(header);
  view.setUint16(0, 0x45c0);
  view.setUint16(4, 77);
  view.setUint16(8, (64 << 8) | 1);
  header.set(byRouter ? ROUTER : about.subarray(16, 20), 12);
  header.set(about.subarray(12, 16), 16);
  view.setUint16(20, (type << 8) | code);
  view.setUint32(24, rest);
  const error = concat(header, withTtl(about, 1 + (random.below(2) && 62)).subarray(0, quoted));
  viewOf(error).setUint16(2, error.length);
  repairChecksums(viewOf(error), 0, error.length, true, false);
  return error;
}

const ports = (way: Way, srcPort: number): string => `${way.src}:${srcPort} > ${way.dst}:${way.dstPort}`;

/** A source port: kept, to be changed, or of a class of its own. */
const somePort = (random: Random): number =>
  [32768 + random.below(16000), 50000 + random.below(15000), 1024 + random.below(5000), 600 + random.below(400)][
    random.below(4)
  ]!;

function tcpConversation(way: Way, random: Random): void {
  const pair = new Pair(compared, way);
  const srcPort = somePort(random);
  let client = random.word();
  let server = random.word();
  const send = (flags: string, length: number, strayed = 0): [Uint8Array, Uint8Array] | undefined => {
    const ack = flags.includes('A') ? server >>> 0 : 0;
    const text = `tcp ${ports(way, srcPort)} ${flags} seq ${(client + strayed) >>> 0} ack ${ack} win 60000`;
    const options = flags === 'S' ? ' <mss 1300, sackOK, nop, wscale 7>' : '';
    const seen = pair.send(way.client, both(packet(`${text}${options} len ${length}`, someOptions(random))));
    if (strayed === 0) client = (client + length + (/[SF]/.test(flags) ? 1 : 0)) >>> 0;
    return seen;
  };
  const first = send('S', 0);
  if (first === undefined) throw new Error(pair.told.join('\n'));
  const answer = (flags: number, length: number, strayed = 0): [Uint8Array, Uint8Array] | undefined => {
    const seen = pair.send(
      way.server,
      answerTo(first.map((syn) => emptied(syn, length)) as [Uint8Array, Uint8Array], (bytes) => {
        const view = viewOf(bytes);
        const l4 = transportAt(bytes);
        view.setUint32(l4 + 4, (server + strayed) >>> 0);
        view.setUint32(l4 + 8, client >>> 0);
        view.setUint8(l4 + 13, flags);
        view.setUint16(l4 + 14, 60000);
      }),
    );
    if (strayed === 0) server = (server + length + ((flags & 3) !== 0 ? 1 : 0)) >>> 0;
    return seen;
  };
  const refused = random.below(8) === 0;
  const seen = answer(refused ? 0x14 : 0x12, 0);
  if (refused) return;
  send('A', 0);
  for (let i = 0; i < 10; i++) {
    const sent = random.below(2) === 0 ? send('PA', 1 + random.below(1200)) : answer(0x18, 1 + random.below(1200));
    assert.ok(sent, 'data passes');
    switch (random.below(6)) {
      case 0:
        send('A', 10, 50_000_000);
        break;
      case 1:
        answer(0x10, 10, 50_000_000);
        break;
      case 2:
        answer(0x10, 1, -200_000_000);
        break;
      default:
    }
    if (random.below(4) === 0) {
      const mine = send('PA', 40)!;
      sendErrors(pair, way.server, mine, random);
      sendErrors(pair, way.client, answer(0x18, 40) ?? seen!, random);
    }
  }
  if (random.below(3) === 0) {
    send(random.below(2) === 0 ? 'R' : 'RA', 0);
    return;
  }
  send('FA', 0);
  answer(0x11, 0);
  send('A', 0);
  answer(0x10, 1, 70_000_000);
}

/** The packet with a TCP header without options and so many bytes of payload. */
function emptied(syn: Uint8Array, length: number): Uint8Array {
  const l4 = transportAt(syn);
  const bytes = new Uint8Array(l4 + 20 + length);
  bytes.set(syn.subarray(0, l4 + 20));
  for (let i = 0; i < length; i++) bytes[l4 + 20 + i] = i * 13;
  viewOf(bytes).setUint16(2, bytes.length);
  bytes[l4 + 12] = 0x50;
  return bytes;
}

function udpConversation(way: Way, random: Random): void {
  const pair = new Pair(compared, way);
  const srcPort = somePort(random);
  for (let i = 0; i < 6; i++) {
    const options = { ...someOptions(random), udpChecksum: random.below(4) !== 0 };
    const datagram = packet(`udp ${ports(way, srcPort)} len ${random.below(1300)}`, options);
    const seen = pair.send(way.client, both(datagram));
    if (seen === undefined) throw new Error(`a datagram is lost\n${pair.told.join('\n')}`);
    const back = pair.send(
      way.server,
      answerTo(seen, (bytes) => {
        bytes[bytes.length - 1]! ^= viewOf(bytes).getUint16(2) > transportAt(bytes) + 8 ? 0x55 : 0;
      }),
    );
    if (back === undefined) throw new Error(`an answer is lost\n${pair.told.join('\n')}`);
    if (random.below(3) === 0) {
      sendErrors(pair, way.server, seen, random);
      sendErrors(pair, way.client, back, random);
    }
  }
}

function icmpConversation(way: Way, random: Random): void {
  const target = way.server === 'host' ? way.dst : B;
  const pair = new Pair(compared, way, way.server === 'host');
  const id = random.below(50);
  for (let i = 0; i < 4; i++) {
    const query = packet(
      `icmp ${way.src} > ${target} echo-request id ${id} seq ${i} len ${random.below(900)}`,
      someOptions(random),
    );
    const type = [8, 13, 17][random.below(3)]!;
    query[transportAt(query)] = type;
    repairChecksums(viewOf(query), 0, query.length, true, false);
    const seen = pair.send(way.client, both(query));
    if (seen === undefined) throw new Error(`a query is lost\n${pair.told.join('\n')}`);
    const back = pair.send(
      way.server,
      answerTo(seen, () => {}),
    );
    if (back === undefined) throw new Error(`an answer is lost\n${pair.told.join('\n')}`);
    // A reply with another identifier, and a request in the other direction with ours, which is not a reply.
    const stray = answerTo(seen, (bytes) => viewOf(bytes).setUint16(transportAt(bytes) + 4, 60000 + id));
    assert.is(pair.send(way.server, stray), undefined);
    if (random.below(2) === 0) {
      sendErrors(pair, way.server, seen, random);
      sendErrors(pair, way.client, back, random);
    }
  }
}

/** A fragmented datagram, in any order; reassembled it must be the same with both. */
function fragmentConversation(way: Way, random: Random): void {
  const pair = new Pair(compared, way);
  const srcPort = somePort(random);
  const whole = packet(`udp ${ports(way, srcPort)} len ${1500 + random.below(4000)}`, {
    id: random.below(65536),
    df: false,
  });
  const seen = passFragments(pair, way.client, both(whole), random);
  passFragments(
    pair,
    way.server,
    answerTo(seen, () => {}),
    random,
  );
}

function passFragments(
  pair: Pair,
  side: Side,
  wholes: readonly [Uint8Array, Uint8Array],
  random: Random,
): [Uint8Array, Uint8Array] {
  const size = 400 + 8 * random.below(100);
  const order = random.word();
  const { ours, kernel, count } = compared;
  const forwarders: Forwarder[] = [ours, kernel];
  const out = forwarders.map((forwarder, i) => {
    const shuffle = seededRandom(order);
    const pieces = fragments(concat(new Uint8Array(14), wholes[i]!), size).map((piece) => piece.subarray(14));
    for (let at = pieces.length - 1; at > 0; at--) {
      const other = shuffle.below(at + 1);
      [pieces[at], pieces[other]] = [pieces[other]!, pieces[at]!];
    }
    return joined(pieces.flatMap((piece) => forwarder.send(side, piece)));
  }) as [Uint8Array, Uint8Array];
  count.packets++;
  count.passed++;
  pair.compare(out[0], out[1]);
  return out;
}

function joined(outs: readonly Out[]): Uint8Array {
  const offset = ({ bytes }: Out): number => (viewOf(bytes).getUint16(6) & 0x1fff) << 3;
  const sorted = [...outs].sort((one, two) => offset(one) - offset(two));
  assert.ok(sorted.length > 1 && new Set(sorted.map(({ side }) => side)).size === 1, `${sorted.length} fragments`);
  const whole = concat(sorted[0]!.bytes.subarray(0, 20), ...sorted.map(({ bytes }) => bytes.subarray(20)));
  viewOf(whole).setUint16(2, whole.length);
  viewOf(whole).setUint16(6, 0);
  return withTtl(whole, 64);
}

/** Two pods, few ports, one server: some ports have to be changed, and the replies still reach the right pod. */
function clashConversation(_: Way, random: Random): void {
  const pairs = (['a', 'b'] as const).map((client) => {
    const way: Way = { client, server: 'host', src: client === 'a' ? A : B, dst: SERVER, dstPort: 53 };
    return new Pair(compared, way);
  });
  for (let i = 0; i < 8; i++) {
    const pair = pairs[random.below(2)]!;
    const datagram = packet(`udp ${ports(pair.way, 40000 + random.below(3))} len ${random.below(100)}`);
    const seen = pair.send(pair.way.client, both(datagram));
    if (seen === undefined) throw new Error(`a datagram is lost\n${pair.told.join('\n')}`);
    const back = pair.send(
      'host',
      answerTo(seen, () => {}),
    );
    if (back === undefined) throw new Error(`an answer is lost\n${pair.told.join('\n')}`);
    assert.equal([...back[0].subarray(16, 20)], [...datagram.subarray(12, 16)]);
    if (random.below(3) === 0) sendErrors(pair, 'host', seen, random);
  }
}

const sourcePort = (bytes: Uint8Array): number => viewOf(bytes).getUint16(transportAt(bytes));

/** One socket, many destinations: both sides give it one external port, and both keep its own, or neither does. */
function oneSocketConversation(_: Way, random: Random): void {
  const protocol = random.below(3) === 0 ? 'tcp' : 'udp';
  const srcPort = somePort(random);
  const outside: [Set<number>, Set<number>] = [new Set(), new Set()];
  for (let i = 0; i < 8; i++) {
    const dst = `198.51.100.${1 + random.below(200)}`;
    const pair = new Pair(compared, { client: 'a', server: 'host', src: A, dst, dstPort: 443 });
    const text = `${protocol} ${A}:${srcPort} > ${dst}:443`;
    const first = packet(protocol === 'tcp' ? `${text} S seq ${random.word() >>> 0} win 60000` : `${text} len 20`);
    const seen = pair.send('a', both(first));
    if (seen === undefined) throw new Error(`a first packet is lost\n${pair.told.join('\n')}`);
    for (const side of [0, 1] as const) outside[side].add(sourcePort(seen[side]));
    if (protocol === 'tcp') continue;
    const back = pair.send(
      'host',
      answerTo(seen, () => {}),
    );
    if (back === undefined) throw new Error(`a reply is lost\n${pair.told.join('\n')}`);
  }
  const became = `${srcPort} became ${[...outside[0]]} here and ${[...outside[1]]} in the kernel`;
  assert.equal([outside[0].size, outside[1].size], [1, 1], became);
  assert.is(outside[0].has(srcPort), outside[1].has(srcPort), became);
}

/** A connection that is opened and closed at once, its server first. @param isn the client's initial sequence number */
function shortConnection(way: Way, srcPort: number, isn: number): void {
  const pair = new Pair(compared, way);
  const step = (flags: string, sequence: number, acknowledgment: number) =>
    pair.send(
      way.client,
      both(packet(`tcp ${ports(way, srcPort)} ${flags} seq ${sequence} ack ${acknowledgment} win 60000`)),
    );
  const syn = step('S', isn, 0);
  if (syn === undefined) throw new Error(`a connection is refused\n${pair.told.join('\n')}`);
  const answer = (flags: number, sequence: number, acknowledgment: number) =>
    pair.send(
      way.server,
      answerTo(syn, (bytes) => {
        const [view, l4] = [viewOf(bytes), transportAt(bytes)];
        view.setUint32(l4 + 4, sequence);
        view.setUint32(l4 + 8, acknowledgment);
        bytes[l4 + 13] = flags;
      }),
    );
  answer(0x12, 500, isn + 1);
  step('A', isn + 1, 501);
  answer(0x11, 501, isn + 1);
  step('FA', isn + 1, 502);
  if (answer(0x10, 502, isn + 2) === undefined) throw new Error(`a connection is not closed\n${pair.told.join('\n')}`);
}

/**
 * Short connections through the NodePort, all from one port of the class 600-1023, more than it has. None is refused.
 */
function reuseConversation(random: Random): void {
  const srcPort = 600 + random.below(PORTS);
  for (let i = 0; i < PORTS + MORE_THAN_PORTS; i++) {
    const src = `198.18.${i >> 8}.${i & 255}`;
    // Later connections begin beyond the numbers of those before.
    shortConnection(
      { client: 'host', server: 'b', src, dst: '172.18.0.11', dstPort: 31418 },
      srcPort,
      i * 1000 + random.below(500),
    );
  }
}

/** One client uses its port again while the connection before is in TIME_WAIT, as a client does that binds its port. */
function sameTupleConversation(way: Way, random: Random): void {
  const srcPort = somePort(random);
  for (let i = 0; i < 5; i++) shortConnection(way, srcPort, i * 100_000 + random.below(500));
}

const KINDS = {
  tcp: tcpConversation,
  udp: udpConversation,
  icmp: icmpConversation,
  fragments: fragmentConversation,
  clash: clashConversation,
  'one socket': oneSocketConversation,
  'one tuple again': sameTupleConversation,
};

for (const [kind, converse] of Object.entries(KINDS)) {
  test(`${kind}: the output is the same`, () => {
    compared.forget();
    const before = { ...compared.count };
    for (let i = 0; i < CONVERSATIONS / 4; i++) {
      const seed = SEED * 1000 + i;
      const ways = kind === 'icmp' ? WAYS.filter(({ client, server }) => client === 'a' && server !== client) : WAYS;
      const way = ways[i % ways.length]!;
      try {
        converse(way, seededRandom(seed));
      } catch (error) {
        throw new Error(`seed ${seed}, ${way.src} to ${way.dst}: ${(error as Error).message}`);
      }
      if (i % 20 === 19) compared.forget();
    }
    assert.equal(conntrackFaults(compared.ours.node.conntrack), []);
    const passed = compared.count.passed - before.passed;
    assert.ok(passed >= CONVERSATIONS / 2, `${passed} packets passed`);
    if (process.env.NAT_SHOW) console.log(kind, compared.count);
  });
}

test('short connections, more than there are ports: both reuse the ports of closed ones', () => {
  compared.forget();
  const before = compared.count.passed;
  reuseConversation(seededRandom(SEED));
  assert.equal(conntrackFaults(compared.ours.node.conntrack), []);
  assert.is(compared.count.passed - before, 6 * (PORTS + MORE_THAN_PORTS));
});

test.run();
