/** What is measured by the clock, in a cluster that nothing else disturbs: gaps in the traffic, and how often it wakes up. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod } from '../../src/api/types/objects.ts';
import { Failure } from '../../src/worker/control.ts';
import { podNetns, startCluster } from '../lib/cluster.ts';
import { ContinuityWatch } from '../lib/continuity.ts';
import { agentPid, successor, WorkerControl } from '../lib/node-processes.ts';
import { pauseThread } from '../lib/paused-process.ts';
import { ProcessorWaits } from '../lib/processor-waits.ts';
import { idlePod } from '../lib/services/services.ts';

const test = suite('continuity');
const cluster = await startCluster({
  args: ['--nodes', '2', '--workers', '2'],
  manifests: [idlePod('near', 'n1'), idlePod('far', 'n2')],
});

test.after(() => cluster.down());

test('while an agent is killed or ended, its standby forwards: no connection is lost, and datagrams go on', async () => {
  const { status } = await cluster.get<Pod>('pod', 'far');
  const watch = new ContinuityWatch(podNetns('near'), podNetns('far'), status!.podIP!, 300);
  const gaps: number[] = [];
  try {
    await Promise.all([watch.ready(), successor('n1'), successor('n2')]);
    await sleep(1000);
    // How late the programs of this test are themselves.
    const { gapMs: undisturbed } = await watch.report('check');
    for (const [node, signal] of [
      ['n1', 'SIGKILL'],
      ['n2', 'SIGTERM'],
      ['n2', 'SIGKILL'],
      ['n1', 'SIGTERM'],
    ] as const) {
      const pid = agentPid(node);
      process.kill(pid, signal);
      await successor(node, pid);
      await sleep(300);
      const { lost, gapMs } = await watch.report('check');
      assert.is(lost, 0, `${signal} of the agent of ${node}`);
      gaps.push(gapMs - undisturbed);
    }
  } finally {
    watch.end();
  }
  // Without a standby, datagrams stop for 500 to 1300 ms each time. The machine may be busy once.
  const [, second = 0] = gaps.sort((a, b) => a - b);
  assert.ok(second < 150, `gaps of ${gaps.join(', ')} ms`);
});

/**
 * Has a worker fail.
 * @returns milliseconds from its failure until its successor forwards, without those in which the two threads and the agent's
 *   main thread waited for a processor: a hung thread is found by the processor time that it uses
 */
async function replaced(control: WorkerControl, worker: number, how: number): Promise<number> {
  const agent = agentPid('n1');
  const before = control.restarts(worker);
  const failing = control.thread(worker);
  let waits = new ProcessorWaits(agent);
  let failedMs = performance.now();
  const end = failedMs + 30_000;
  control.fail(worker, how);
  // One that sleeps fails when it wakes up, within a second.
  while (control.isToFail(worker)) {
    waits = new ProcessorWaits(agent);
    failedMs = performance.now();
    await sleep(2);
  }
  while (control.restarts(worker) === before || !control.isLooping(worker)) {
    assert.ok(performance.now() < end, `worker ${worker} is not replaced`);
    waits.sample();
    await sleep(2);
  }
  const tookMs = performance.now() - failedMs;
  waits.sample();
  return tookMs - waits.ms(agent, failing, control.thread(worker));
}

/** The same for a worker whose thread is stopped, as by a debugger. */
async function replacedWhenStopped(control: WorkerControl, worker: number): Promise<number> {
  const agent = agentPid('n1');
  const before = control.restarts(worker);
  const goOn = pauseThread(control.thread(worker));
  const waits = new ProcessorWaits(agent);
  const stoppedMs = performance.now();
  try {
    while (control.restarts(worker) === before || !control.isLooping(worker)) {
      assert.ok(performance.now() - stoppedMs < 30_000, `worker ${worker} is not replaced`);
      waits.sample();
      await sleep(2);
    }
    const tookMs = performance.now() - stoppedMs;
    waits.sample();
    return tookMs - waits.ms(agent, control.thread(worker));
  } finally {
    goOn();
  }
}

/** The faster of two: other processes are still busy beside it. */
const REPLACED_MS = 200;

test('a worker that hangs, throws or is stopped is replaced within 200 ms, and no connection is lost', async () => {
  const { status } = await cluster.get<Pod>('pod', 'far');
  const watch = new ContinuityWatch(podNetns('near'), podNetns('far'), status!.podIP!, 300);
  const control = new WorkerControl('n1');
  try {
    await watch.ready();
    for (const [how, fail] of [
      ['hangs', (worker: number) => replaced(control, worker, Failure.HANG)],
      ['throws', (worker: number) => replaced(control, worker, Failure.THROW)],
      ['is stopped', (worker: number) => replacedWhenStopped(control, worker)],
    ] as const) {
      const times: number[] = [];
      for (const worker of [0, 1]) {
        times.push(await fail(worker));
        const { lost } = await watch.report('check');
        assert.is(lost, 0, `worker ${worker} ${how}`);
      }
      assert.ok(Math.min(...times) < REPLACED_MS, `a worker ${how}: ${times.map(Math.round).join(' and ')} ms`);
    }
  } finally {
    control.close();
    watch.end();
  }
  assert.match(readFileSync('/run/dataplane/agent-n1.log', 'utf8'), /worker 0 is replaced: it has used \d+ ms/);
});

test('an idle cluster sleeps', async () => {
  // The next standbys have started.
  await sleep(3000);
  /** Times that threads of the process gave up a processor by themselves, and the time it ran, in hundredths of a second. */
  const usage = (pid: number): { switches: number; ticks: number } => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    const threads = readdirSync(`/proc/${pid}/task`).map((thread) => {
      try {
        return readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
      } catch {
        return '';
      }
    });
    const counts = threads.flatMap((text) =>
      [...text.matchAll(/^voluntary_ctxt_switches:\t(\d+)/gm)].map(([, n]) => Number(n)),
    );
    return { switches: counts.reduce((sum, n) => sum + n, 0), ticks: Number(fields[11]) + Number(fields[12]) };
  };
  const pids = ['n1', 'n2'].map(agentPid);
  const before = pids.map(usage);
  await sleep(5000);
  for (const [i, pid] of pids.entries()) {
    const { switches, ticks } = usage(pid);
    // What it does is bounded by how often it wakes up: 15 to 35 times a second. The time that takes depends on the machine:
    // the same agent used 8 and 39 hundredths of a second on one day. A worker that spins uses 500.
    assert.ok(
      switches - before[i]!.switches <= 400,
      `an idle agent woke up ${switches - before[i]!.switches} times in 5 s`,
    );
    assert.ok(ticks - before[i]!.ticks <= 100, `an idle agent used ${ticks - before[i]!.ticks} ticks in 5 s`);
  }
});

test.run();
