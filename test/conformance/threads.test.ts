/**
 * Any number of worker threads over one set of tables: a packet is translated identically by each; two threads that
 * create the same connection at the same time end with one; the table neither loses nor leaks records. (kubernetes
 * #56903: the race of two first packets that costs five seconds.)
 */
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { expireRecords, freeRecords } from '../../native-free-dataplane/conntrack/lifetime.ts';
import { verdictName } from '../../native-free-dataplane/verdicts.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { times } from '../lib/long-form.ts';
import { entries, NODE, SERVER } from '../lib/nat-node.ts';
import { seededRandom } from '../lib/seeded-random.ts';
import { TestNode, type TestService } from '../lib/test-node.ts';
import type { Churn, Step, ThreadData } from './threads-worker.ts';

const SEEN_WORDS = 5;
const [A, B, C, D] = ['10.244.1.2', '10.244.1.3', '10.244.1.4', '10.244.1.5'];

function sharedNode(threads: number, maxConntrack: number): TestNode {
  const memory = (bytes: number): ArrayBuffer => new SharedArrayBuffer(bytes) as unknown as ArrayBuffer;
  const n = new TestNode({ workers: threads, maxConntrack, memory });
  n.pod('a', A!).pod('b', B!).pod('c', C!).pod('d', D!);
  const both = (port: number): TestService => ({ endpoints: [`${C}:${port}`, `${D}:${port}`] });
  n.service('udp 10.96.0.10:53', both(5353));
  n.service('tcp 10.96.0.10:80', { ...both(8080), nodePort: 31418 });
  n.service('tcp 10.96.0.11:80', { endpoints: [`${C}:8080`] });
  return n;
}

/** Start the threads; returns what each posted at its end. */
async function runThreads<T>(n: TestNode, threads: number, what: Partial<ThreadData>): Promise<T[]> {
  const control = new SharedArrayBuffer(8);
  const results = Array.from({ length: threads }, (_, worker) => {
    const workerData: Partial<ThreadData> = {
      buffers: n.buffers,
      worker,
      threads,
      control,
      rounds: [],
      churnMs: 0,
      ...what,
    };
    const thread = new Worker(new URL('./threads-worker.js', import.meta.url), { workerData });
    return new Promise<T>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
  });
  return Promise.all(results);
}

/** What one thread saw of a packet: verdict, port, source, destination, ports. */
type Outcome = [verdict: string, port: number, src: number, dst: number, ports: number];

/** Let the threads run the rounds; returns, for each packet, the outcome on each thread that processed it. */
async function play(n: TestNode, threads: number, rounds: Step[][]): Promise<Outcome[][]> {
  const count = rounds.reduce((sum, steps) => sum + steps.length, 0);
  const seen = new SharedArrayBuffer(threads * count * SEEN_WORDS * 4);
  await runThreads(n, threads, { seen, rounds });
  const words = new Int32Array(seen);
  return Array.from({ length: count }, (_, packet) =>
    Array.from({ length: threads }, (__, worker): Outcome => {
      const at = (worker * count + packet) * SEEN_WORDS;
      return [verdictName(words[at]!), words[at + 1]!, words[at + 2]!, words[at + 3]!, words[at + 4]!];
    }).filter(([verdict]) => verdict !== 'go-on'),
  );
}

/** After all timeouts every record is free again, and the table is consistent. */
function comesToRest(n: TestNode, threads: number): void {
  assert.equal(conntrackFaults(n.conntrack), []);
  let now = Number(process.hrtime.bigint() / 1_000_000n) & 0x3fffffff;
  for (const end = now + 100_000_000; now < end && freeRecords(n.conntrack) < n.conntrack.max; now += 16_000) {
    for (let worker = 0; worker < threads; worker++) while (expireRecords(n.conntrack, worker, now) > 0);
  }
  assert.is(n.flows, 0);
  assert.is(freeRecords(n.conntrack), n.conntrack.max);
  assert.ok(n.conntrack.index.every((word) => word === 0));
  assert.equal(conntrackFaults(n.conntrack), []);
}

/** First packets of eight connections that are unrelated, or as related as possible. */
function firstPackets(port: number): Step[] {
  const step = (from: number, text: string): Step => ({ port: from, text, thread: -1 });
  return [
    step(1, `tcp ${A}:${port} > 10.96.0.10:80 S`),
    step(2, `udp ${B}:${port} > 10.96.0.10:53 len 8`),
    step(1, `udp ${A}:${port} > ${SERVER}:53 len 8`),
    step(2, `udp ${B}:${port} > ${SERVER}:53 len 8`),
    step(3, `udp ${C}:${port} > ${SERVER}:53 len 8`),
    step(1, `icmp ${A} > ${SERVER} echo-request id ${port} seq 1`),
    step(2, `icmp ${B} > ${SERVER} echo-request id ${port} seq 1`),
    step(0, `tcp ${SERVER}:${port} > ${NODE}:31418 S`),
  ];
}

for (const threads of [1, 2, 4]) {
  test(`${threads} threads: the same first packet on all of them at once creates one connection, translated identically by all`, async () => {
    const n = sharedNode(threads, 16_384);
    const rounds = Array.from({ length: times(150, 400) }, (_, i) => firstPackets(33_000 + i));
    const saw = await play(n, threads, rounds);
    const outside = new Map<string, Set<number>>();
    saw.forEach((each, packet) => {
      assert.is(each.length, threads);
      for (const one of each) assert.equal(one, each[0], `packet ${packet}`);
      const [verdict, port, , , ports] = each[0]!;
      const kind = packet % 8;
      assert.is(verdict, kind >= 2 && kind <= 6 ? 'to-host' : 'forwarded');
      assert.is(port === 0, kind >= 2 && kind <= 6);
      if (port !== 0) return;
      const group = kind <= 4 ? 'udp' : 'icmp';
      const used = outside.get(group) ?? new Set();
      used.add(ports);
      outside.set(group, used);
    });
    assert.is(n.flows, rounds.length * 8);
    assert.is(outside.get('udp')!.size, rounds.length * 3, 'no port was given twice');
    assert.is(outside.get('icmp')!.size, rounds.length * 2, 'no identifier was given twice');
    comesToRest(n, threads);
  });

  test(`${threads} threads: simultaneous open on different threads establishes one connection`, async () => {
    const n = sharedNode(threads, 16_384);
    const rounds: Step[][] = [];
    for (let port = 2000; port < 2400; port++) {
      rounds.push([
        { port: 1, text: `tcp ${A}:${port} > ${B}:${port} S seq 100`, thread: 0 },
        { port: 2, text: `tcp ${B}:${port} > ${A}:${port} S seq 500`, thread: 1 },
      ]);
      rounds.push([{ port: 1, text: `tcp ${A}:${port} > ${B}:${port} SA seq 100 ack 501`, thread: 2 }]);
      rounds.push([{ port: 2, text: `tcp ${B}:${port} > ${A}:${port} SA seq 500 ack 101`, thread: 3 }]);
      rounds.push([{ port: 1, text: `tcp ${A}:${port} > ${B}:${port} PA seq 101 ack 501 len 9`, thread: 1 }]);
    }
    const saw = await play(n, threads, rounds);
    const failed = saw.map((each) => each[0]![0]).filter((verdict) => verdict !== 'forwarded');
    assert.equal(failed, []);
    assert.is(n.flows, 400);
    comesToRest(n, threads);
  });

  test(`${threads} threads: connections whose packets go to random threads, in both directions: every one passes`, async () => {
    const n = sharedNode(threads, 4096);
    const random = seededRandom(4 + threads);
    const phases: Step[][] = [];
    const add = (phase: number, port: number, text: string): void => {
      phases[phase] ??= [];
      phases[phase]!.push({ port, text, thread: random.below(threads) });
    };
    const DATA = 10;
    for (let port = 3000; port < 3100; port++) {
      const [client, server, reply] = [`${A}:${port}`, '10.96.0.11:80', `${C}:8080`];
      add(0, 1, `tcp ${client} > ${server} S seq 100 <mss 1400, sackOK, nop, nop, wscale 7>`);
      add(1, 3, `tcp ${reply} > ${client} SA seq 500 ack 101 <mss 1400, sackOK, nop, nop, wscale 7>`);
      add(2, 1, `tcp ${client} > ${server} A seq 101 ack 501 win 500`);
      let [mine, its] = [101, 501];
      for (let phase = 3; phase < 3 + DATA; phase++) {
        // Every segment acknowledges data from before the phase: any order among them is possible on a network.
        for (let i = 0; i < 3; i++) {
          add(phase, 1, `tcp ${client} > ${server} A seq ${mine + i * 700} ack ${its} win 500 len 700`);
          add(phase, 3, `tcp ${reply} > ${client} A seq ${its + i * 900} ack ${mine} win 500 len 900`);
        }
        mine += 2100;
        its += 2700;
      }
      add(3 + DATA, 1, `tcp ${client} > ${server} FA seq ${mine} ack ${its} win 500`);
      add(4 + DATA, 3, `tcp ${reply} > ${client} FA seq ${its} ack ${mine + 1} win 500`);
      add(5 + DATA, 1, `tcp ${client} > ${server} A seq ${mine + 1} ack ${its + 1} win 500`);
    }
    // All threads are at the same connection at about the same time.
    const saw = await play(n, threads, phases);
    const verdicts: Record<string, number> = {};
    for (const each of saw) verdicts[each[0]![0]] = (verdicts[each[0]![0]] ?? 0) + 1;
    assert.equal(verdicts, { forwarded: saw.length });
    const flat = phases.flat();
    saw.forEach(([one], packet) => {
      const [, port, src] = one!;
      const fromClient = flat[packet]!.port === 1;
      assert.is(port, fromClient ? 3 : 1);
      assert.is(src, fromClient ? 0x0af40102 : 0x0a60000b, 'the client’s address, or the service’s');
    });
    assert.is(n.flows, 100);
    for (const { assured, life } of entries(n)) assert.ok(assured && life !== 0);
    comesToRest(n, threads);
  });

  test(`${threads} threads: constant creation and eviction in a table too small: no connection gets another’s packets`, async () => {
    const n = sharedNode(threads, 1024);
    const results = await runThreads<Churn>(n, threads, { churnMs: 500 });
    assert.equal(
      results.flatMap(({ wrong }) => wrong),
      [],
    );
    assert.ok(results.every(({ packets }) => packets > 1000));
    assert.ok(n.flows <= 1024);
    comesToRest(n, threads);
  });
}

test.run();
