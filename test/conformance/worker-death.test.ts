/**
 * A worker that ends at any statement of the code that changes shared tables: after the repair the tables are consistent,
 * established connections continue, and a packet that is sent again has the result it would have had.
 *
 *   CRASH_STEP=1 node dist/test/conformance/worker-death.test.js     at every statement (by default every 31st)
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { repairConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { attachFragments, releaseFragmentLock } from '../../native-free-dataplane/fragments/table.ts';
import { ROOT } from '../lib/cluster.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { A, B, GATEWAY, NODE, natNode, portsOf, SERVER } from '../lib/nat-node.ts';
import type { TestNode } from '../lib/test-node.ts';

type Faulty = typeof import('../lib/faulty-pipeline.ts');
const { Fault, failAt, statementsPassed, ...pipeline } = (await import(
  pathToFileURL(join(ROOT, 'dist/test/bundle/faulty-pipeline.js')).href
)) as Faulty;

const STEP = Number(process.env.CRASH_STEP ?? 31);
const VIP = '10.96.0.10';
const STICKY = '10.96.0.11';
const CLIENT = '192.0.2.7';

/** A node, and the source ports that it chose. */
class Life {
  readonly n: TestNode = natNode({ maxConntrack: 32, pipeline })
    .service(`tcp ${VIP}:80`, { endpoints: [`${B}:80`], nodePort: 31418 })
    .service(`udp ${STICKY}:53`, { endpoints: [`${B}:53`, '10.244.2.2:53'], affinitySeconds: 60 });
  /** By the port of the client. */
  private readonly chosen = new Map<number, number>();

  send(from: string, text: string, options = {}): string {
    return this.n.receive(from, text, options);
  }

  /** A segment of a client outside, to the NodePort. */
  client(port: number, rest: string): string {
    const verdict = this.send('host', `tcp ${CLIENT}:${port} > ${NODE}:31418 ${rest}`);
    for (const sent of this.n.sentFrames('b')) this.chosen.set(port, portsOf(sent)[0]);
    return verdict;
  }

  /** A segment of the server to that client. */
  server(port: number, rest: string): string {
    return this.send('b', `tcp ${B}:80 > ${GATEWAY}:${this.chosen.get(port) ?? 1} ${rest}`);
  }

  /** A datagram to a server outside, which the node masquerades. */
  ask(port: number): string {
    const verdict = this.send('a', `udp ${A}:${port} > ${SERVER}:53 len 8`);
    for (const sent of this.n.sentFrames('host')) this.chosen.set(port, portsOf(sent)[0]);
    return verdict;
  }

  answer(port: number): string {
    return this.send('host', `udp ${SERVER}:53 > ${NODE}:${this.chosen.get(port) ?? 1} len 8`);
  }
}

/** Connections that exist before the worker dies: one from outside, one between pods. */
const BEFORE: ((life: Life) => string)[] = [
  (life) => life.client(20001, 'S seq 100'),
  (life) => life.server(20001, 'SA seq 500 ack 101'),
  (life) => life.client(20001, 'A seq 101 ack 501'),
  (life) => life.send('a', `tcp ${A}:4000 > ${VIP}:80 S seq 100`),
  (life) => life.send('b', `tcp ${B}:80 > ${A}:4000 SA seq 500 ack 101`),
  (life) => life.send('a', `tcp ${A}:4000 > ${VIP}:80 A seq 101 ack 501`),
];

/** Data on both, at two places of the scenario. */
const exchange = (at: number): ((life: Life) => string)[] => [
  (life) => life.client(20001, `PA seq ${101 + at} ack ${501 + at} len 10`),
  (life) => life.server(20001, `PA seq ${501 + at} ack ${111 + at} len 10`),
  (life) => life.send('a', `tcp ${A}:4000 > ${VIP}:80 PA seq ${101 + at} ack ${501 + at} len 10`),
  (life) => life.send('b', `tcp ${B}:80 > ${A}:4000 PA seq ${501 + at} ack ${111 + at} len 10`),
];

const pass = (life: Life, ms: number): string => {
  life.n.advance(ms);
  return 'time passes';
};

/** During one of these the worker dies. */
const SCENARIO: ((life: Life) => string)[] = [
  ...exchange(0),
  (life) => life.send('a', `tcp ${A}:4001 > ${VIP}:80 S seq 7 <mss 1460, sackOK, nop, wscale 7>`),
  (life) => life.send('b', `tcp ${B}:80 > ${A}:4001 SA seq 9 ack 8 <mss 1460, sackOK, nop, wscale 7>`),
  (life) => life.send('a', `tcp ${A}:4001 > ${VIP}:80 PA seq 8 ack 10 len 20`),
  (life) => life.client(20002, 'S seq 1'),
  (life) => life.server(20002, 'SA seq 1 ack 2'),
  (life) => life.client(20002, 'A seq 2 ack 2'),
  (life) => life.ask(5000),
  (life) => life.answer(5000),
  (life) => life.send('a', `udp ${A}:5001 > ${STICKY}:53 len 8`),
  (life) => life.send('a', `icmp ${A} > ${SERVER} echo-request id 7 seq 1 len 8`),
  (life) => life.send('b', `tcp ${B}:80 > ${A}:4001 FA seq 10 ack 28`),
  (life) => life.send('a', `tcp ${A}:4001 > ${VIP}:80 FA seq 28 ack 11`),
  (life) => life.send('b', `tcp ${B}:80 > ${A}:4001 A seq 11 ack 29`),
  (life) => life.client(20002, 'R seq 2'),
  // The closed connection's tuple is used again.
  (life) => life.send('a', `tcp ${A}:4001 > ${VIP}:80 S seq 70000`),
  (life) => pass(life, 70),
  // More than the table holds: those that nobody answered are evicted.
  ...Array.from({ length: 34 }, (_, i) => (life: Life) => {
    life.n.nowMs += 25;
    return life.send('a', `udp ${A}:${10_000 + i} > ${B}:9 len 1`);
  }),
  // The others expire.
  (life) => {
    life.n.nowMs += 31_000;
    return pass(life, 64);
  },
  ...exchange(10),
];

/** Plays steps; a step that fails is repeated after the repair, as its sender would. @returns verdicts */
function play(life: Life, steps: typeof SCENARIO): { verdicts: string[]; died: number } {
  let died = -1;
  const verdicts = steps.map((step, i) => {
    try {
      return step(life);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      died = i;
      life.n.out.length = 0;
      repair(life.n);
      return step(life);
    }
  });
  return { verdicts, died };
}

/** What the agent does when a worker has failed. */
function repair({ conntrack, buffers, nowMs }: TestNode): void {
  repairConntrack(conntrack, nowMs, 1);
  releaseFragmentLock(attachFragments(buffers.fragments)!, 0);
  assert.equal(conntrackFaults(conntrack), []);
}

test('a worker that ends at any statement costs one packet: tables are consistent, connections continue', () => {
  const whole = new Life();
  failAt(0);
  play(whole, BEFORE);
  failAt(0);
  const expected = play(whole, SCENARIO).verdicts;
  const statements = statementsPassed();
  assert.ok(statements > 4000, `${statements} statements`);
  const deaths = new Set<number>();
  for (let n = 1; n <= statements; n += STEP) {
    const life = new Life();
    failAt(0);
    play(life, BEFORE);
    failAt(n);
    const { verdicts, died } = play(life, SCENARIO);
    failAt(0);
    assert.ok(died >= 0, `statement ${n} was not reached`);
    deaths.add(died);
    assert.equal(verdicts, expected, `after the end at statement ${n}, in step ${died}`);
    assert.equal(conntrackFaults(life.n.conntrack), [], `after the end at statement ${n}, in step ${died}`);
  }
  assert.ok(deaths.size > SCENARIO.length / 2, `the worker has ended in ${deaths.size} of ${SCENARIO.length} steps`);
});

test.run();
