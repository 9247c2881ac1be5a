/**
 * Lifetime and state of connections: our table against the kernel's after each packet of the same conversations, at the
 * same time. TCP's states and timeouts are in test/conformance/tcp-kernel.test.ts; this file covers the rest: UDP,
 * queries, other protocols, and fragmented datagrams. Needs root, TUN, nft and conntrack.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Rec, recordAt, StateWord, Status } from '../../native-free-dataplane/conntrack/record.ts';
import { TCP_STATE_NAMES } from '../../native-free-dataplane/conntrack/tcp/states.ts';
import { tcpState } from '../../native-free-dataplane/conntrack/tcp/tracker.ts';
import { concat, fragments } from '../lib/frames/frame-builder.ts';
import { packet } from '../lib/frames/frame-text.ts';
import { type KernelEntry, KernelNat, type Side } from '../lib/kernel/nat.ts';
import { Compared, SERVER } from '../lib/kernel/nat-pair.ts';
import { A, B } from '../lib/nat-node.ts';

const test = suite('conntrack: lifetimes, ours and the kernel’s');
let compared: Compared;
let begun = 0;

test.before(() => {
  compared = new Compared(new KernelNat(`dpt-life-${process.pid}`));
});

test.after(() => {
  compared?.kernel.close();
});

test.before.each(() => {
  compared.forget();
  begun = performance.now();
});

/** The only connection of ours. */
function ourEntry(): KernelEntry {
  const { node } = compared.ours;
  const { words, state } = node.conntrack;
  const live = Array.from({ length: state[StateWord.WATERMARK]! }, (_, record) =>
    recordAt(node.conntrack, record),
  ).filter((at) => (words[at + Rec.META]! & (Status.CONFIRMED | Status.DEAD)) === Status.CONFIRMED);
  assert.is(live.length, 1);
  const [at] = live as [number];
  const meta = words[at + Rec.META]!;
  const protocol = (meta >>> 16) & 0xff;
  return {
    protocol,
    state: protocol === 6 ? (TCP_STATE_NAMES[tcpState(words, at + Rec.TCP)] ?? '') : '',
    seconds: Math.floor((words[at + Rec.EXPIRES]! - node.nowMs) / 1000),
    seenReply: (meta & Status.SEEN_REPLY) !== 0,
    assured: (meta & Status.ASSURED) !== 0,
  };
}

/** The packets go to both; afterwards the connection from `src` to `dst` must be the same in both tables. */
function step(side: Side, src: string, dst: string, ...packets: Uint8Array[]): KernelEntry {
  const { ours, kernel } = compared;
  ours.node.nowMs = 100_000 + Math.round(performance.now() - begun);
  for (const bytes of packets) {
    ours.send(side, bytes);
    kernel.send(side, bytes);
  }
  const our = ourEntry();
  const [its, ...others] = kernel.entries(src, dst).filter(({ protocol }) => protocol === our.protocol);
  assert.ok(its && others.length === 0, `the kernel has ${others.length + (its ? 1 : 0)} such connections`);
  assert.ok(Math.abs(our.seconds - its.seconds) <= 1, `${our.seconds} s, the kernel ${its.seconds} s`);
  assert.equal({ ...our, seconds: 0 }, { ...its, seconds: 0 });
  return our;
}

const cut = (bytes: Uint8Array): Uint8Array[] =>
  fragments(concat(new Uint8Array(14), bytes), 600).map((piece) => piece.subarray(14));

test('UDP: queries and replies within two seconds are not a stream, however many; afterwards they are', async () => {
  const ask = (id: number): Uint8Array => packet(`udp ${A}:40000 > ${SERVER}:53 len 30`, { id });
  const answer = (id: number): Uint8Array => packet(`udp ${SERVER}:53 > 172.18.0.11:40000 len 90`, { id });
  const first = step('a', A, SERVER, ask(1));
  assert.equal([first.seconds >= 29, first.seenReply, first.assured], [true, false, false]);
  for (let id = 1; id < 5; id++) {
    step('host', A, SERVER, answer(id));
    const { seconds, assured } = step('a', A, SERVER, ask(id));
    assert.ok(seconds <= 30 && !assured);
  }
  await sleep(2200);
  const stream = step('host', A, SERVER, answer(6));
  assert.ok(stream.seconds >= 119 && stream.assured);
  step('a', A, SERVER, ask(7));
});

test('unanswered UDP is not a stream, however long it lasts', async () => {
  step('a', A, SERVER, packet(`udp ${A}:40001 > ${SERVER}:514 len 30`, { id: 1 }));
  await sleep(2200);
  const { seconds, assured } = step('a', A, SERVER, packet(`udp ${A}:40001 > ${SERVER}:514 len 30`, { id: 2 }));
  assert.ok(seconds <= 30 && !assured);
});

test('a fragmented datagram counts once', () => {
  step('a', A, SERVER, ...cut(packet(`udp ${A}:40002 > ${SERVER}:53 len 2000`, { id: 1, df: false })));
  const whole = packet(`udp ${SERVER}:53 > 172.18.0.11:40002 len 2000`, { id: 1, df: false });
  assert.not(step('host', A, SERVER, ...cut(whole)).assured);
});

test('later fragments of a segment change neither state nor timeout', () => {
  const tcp = (from: 'a' | 'b', rest: string, id: number): Uint8Array => {
    const way = from === 'a' ? `${A}:4000 > ${B}:8080` : `${B}:8080 > ${A}:4000`;
    return packet(`tcp ${way} ${rest}`, { id, df: false });
  };
  step('a', A, B, tcp('a', 'S seq 100 <mss 1300, sackOK>', 1));
  step('b', A, B, tcp('b', 'SA seq 500 ack 101 <mss 1300, sackOK>', 2));
  step('a', A, B, tcp('a', 'A seq 101 ack 501', 3));
  step('b', A, B, ...cut(tcp('b', 'PA seq 501 ack 101 len 1200', 4)));
  const { seconds, state } = step('a', A, B, tcp('a', 'A seq 101 ack 1701', 5));
  assert.is(state, 'ESTABLISHED');
  assert.ok(seconds > 86_000);
  step('a', A, B, ...cut(tcp('a', 'PA seq 101 ack 1701 len 1200', 6)));
  step('b', A, B, tcp('b', 'A seq 1701 ack 1301', 7));
});

test('ICMP queries live thirty seconds after each packet and are never assured', () => {
  step('a', A, SERVER, packet(`icmp ${A} > ${SERVER} echo-request id 7 seq 1 len 56`));
  for (let seq = 1; seq < 4; seq++) {
    step('host', A, SERVER, packet(`icmp ${SERVER} > 172.18.0.11 echo-reply id 7 seq ${seq} len 56`));
    const entry = step('a', A, SERVER, packet(`icmp ${A} > ${SERVER} echo-request id 7 seq ${seq + 1} len 56`));
    assert.ok(!entry.assured && entry.seconds <= 30);
  }
});

test('other protocols live ten minutes; a reply makes them assured here (docs/semantics.md), not in the kernel', () => {
  const esp = (text: string): Uint8Array => packet(text.replace('udp', 'protocol-253').replace(/:\d+/g, ''));
  step('a', A, SERVER, esp(`udp ${A}:0 > ${SERVER}:0 len 40`));
  const back = esp(`udp ${SERVER}:0 > 172.18.0.11:0 len 40`);
  compared.ours.send('host', back);
  compared.kernel.send('host', back);
  const [its] = compared.kernel.entries(A, SERVER);
  const our = ourEntry();
  assert.equal([our.seenReply, its?.seenReply, our.assured, its?.assured], [true, true, true, false]);
});

test('an ICMP error changes neither timeout nor state', async () => {
  step('a', A, SERVER, packet(`udp ${A}:40003 > ${SERVER}:9 len 30`, { id: 1 }));
  await sleep(1600);
  const error = `icmp ${SERVER} > 172.18.0.11 unreachable port (udp 172.18.0.11:40003 > ${SERVER}:9 len 30)`;
  const { seconds, seenReply } = step('host', A, SERVER, packet(error, { quoted: { id: 1 } }));
  // The kernel counts it as seen from the other side only when it is a packet of the connection.
  assert.ok(seconds <= 28 && !seenReply);
});

test.run();
