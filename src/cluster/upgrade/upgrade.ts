/**
 * Replaces the build of a running cluster: in shadow first (shadow.ts), then node by node, then the controller.
 *
 * A node's agent is ended by SIGTERM; its standby forwards (ADR 8) until the agent of the new build has taken over devices and
 * connections. The node is watched for some time after that. If anything is wrong (health.ts), this node and those before it
 * return to the former build the same way. If this process ends, however it ends, the supervisor does that (agent-build.ts).
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentBuilds } from '../../controllers/nodes/agent-build.ts';
import { findProcess, isAlive, type ProcessMark, signalProcess, waitGone } from '../../linux/processes.ts';
import { lastLineOf } from '../../linux/read-file.ts';
import { ClusterError } from '../errors.ts';
import { markOf, readClusterFile, STATE_DIR } from '../state.ts';
import { type Build, programOf } from './build.ts';
import { ControllerBuild } from './controller-build.ts';
import { type FailureRate, type NodeHealth, whyRollBack } from './health.ts';
import type { ShadowReport } from './shadow.ts';

const LOOK_MS = 100;
/** How long the agent or controller of a build may take until it works, milliseconds. */
const START_MS = 60_000;
/** How long an agent may take to end after SIGTERM. */
const END_MS = 3000;
/** An agent that has ended so often before it forwarded is not waited for. */
const MAX_STARTS = 3;
/** How long the API may fail to answer; other work on the machine delays it. */
const SILENCE_MS = 10_000;

export interface UpgradePlan {
  readonly from: Build;
  readonly to: Build;
  /** In the order in which they are upgraded. */
  readonly nodes: readonly string[];
  /** How long each node is watched before the next one, milliseconds. */
  readonly watchMs: number;
  /** Failures of each node under the former build. */
  readonly before: ReadonlyMap<string, FailureRate>;
  /** The nodes now; rejects while the controller does not respond. */
  readonly health: () => Promise<readonly NodeHealth[]>;
  readonly onProgress: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface UpgradeReport {
  readonly from: string;
  readonly to: string;
  /** Undefined: it was left out. */
  readonly shadow?: ShadowReport | undefined;
  /** From the end of the node's agent until its successor forwarded, milliseconds; the standby forwards meanwhile. */
  readonly nodes: readonly { readonly name: string; readonly tookMs: number }[];
}

/** @throws ClusterError UPGRADE when everything runs the former build again; its message says why */
export async function upgrade(plan: UpgradePlan): Promise<UpgradeReport> {
  const { nodes, from, to, onProgress } = plan;
  const moved: string[] = [];
  const done: { name: string; tookMs: number }[] = [];
  try {
    for (const name of nodes) {
      moved.push(name);
      const tookMs = await moveNode(plan, name);
      done.push({ name, tookMs });
      onProgress(`node ${name} runs ${to.dist}`);
    }
    await moveController(plan);
  } catch (error) {
    const why = (error as Error).message;
    onProgress(`${why}; rolling back`);
    const failures = await rollBack(plan, moved.reverse());
    if (failures.length > 0)
      throw new ClusterError('UPGRADE', `${why}; and the way back failed: ${failures.join('; ')}`);
    throw new ClusterError('UPGRADE', `rolled back: ${why}`, `all nodes run ${from.dist} again`);
  }
  for (const name of nodes) new AgentBuilds(STATE_DIR, name).withdraw();
  return { from: from.dist, to: to.dist, nodes: done };
}

/** @returns how long its agent took @throws Error that says why the node is to return to its former build */
async function moveNode(plan: UpgradePlan, name: string): Promise<number> {
  const { to, watchMs, before } = plan;
  const startMs = performance.now();
  const by = findProcess(process.pid) ?? markOf(process.pid);
  const first = await replaceAgent(plan, name, (builds) => builds.assign({ main: to.main, by }), to.main);
  const tookMs = Math.round(performance.now() - startMs);
  const none: FailureRate = { frames: 0, failures: 0 };
  for (const end = performance.now() + watchMs; performance.now() < end; ) {
    await pause(plan);
    const why = whyRollBack(first, await healthOf(plan, name), before.get(name) ?? none);
    if (why !== undefined) throw new Error(`node ${name}: ${why}`);
  }
  return tookMs;
}

/**
 * End the node's agent, and wait until one of another build forwards. @param main its program
 * @throws Error if that one does not start
 */
async function replaceAgent(
  plan: Pick<UpgradePlan, 'health' | 'signal'>,
  name: string,
  choose: (builds: AgentBuilds) => void,
  main: string,
): Promise<NodeHealth> {
  const { agentPid } = await healthOf(plan, name);
  choose(new AgentBuilds(STATE_DIR, name));
  const mark = agentPid === null ? undefined : findProcess(agentPid);
  if (mark !== undefined && programOf(mark.pid) !== main) await endProcess(mark);
  const started = new Set<number>();
  let notReady: string | undefined;
  for (const end = performance.now() + START_MS; performance.now() < end && started.size <= MAX_STARTS; ) {
    const now = await healthOf(plan, name);
    if (now.agentPid !== null && programOf(now.agentPid) === main) {
      started.add(now.agentPid);
      if (now.hasStarted && now.notReady === undefined) return now;
      notReady = now.hasStarted ? now.notReady : undefined;
    }
    await pause(plan);
  }
  const why = notReady ?? lastLineOf(join(STATE_DIR, `agent-${name}.log`));
  throw new Error(`node ${name}: its agent does not become Ready: ${why}`);
}

async function endProcess(mark: ProcessMark): Promise<void> {
  signalProcess(mark, 'SIGTERM');
  if (await waitGone([mark], END_MS)) return;
  signalProcess(mark, 'SIGKILL');
  await waitGone([mark], END_MS);
}

/** Wait for the next look. @throws Error if the upgrade is interrupted */
async function pause({ signal }: Pick<UpgradePlan, 'signal'>): Promise<void> {
  await sleep(LOOK_MS);
  if (signal.aborted) throw new Error('interrupted');
}

async function healthOf(plan: Pick<UpgradePlan, 'health' | 'signal'>, name: string): Promise<NodeHealth> {
  for (const end = performance.now() + SILENCE_MS; ; await pause(plan)) {
    let nodes: readonly NodeHealth[];
    try {
      nodes = await plan.health();
    } catch (error) {
      if (performance.now() < end) continue;
      throw new Error(`the controller does not respond: ${(error as Error).message}`, { cause: error });
    }
    const found = nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`node ${name} no longer exists`);
    return found;
  }
}

/** @throws Error if the controller of the new build does not work; that of the former one runs again then, or is started */
async function moveController(plan: UpgradePlan): Promise<void> {
  const { from, to } = plan;
  const build = new ControllerBuild(STATE_DIR);
  build.tryOut(to.main, from.main);
  try {
    await replaceController(plan, to.main);
    build.settle(to.main);
  } catch (error) {
    build.restore();
    // Without the signal: an interrupted upgrade has to be undone.
    await replaceController({ ...plan, signal: new AbortController().signal }, from.main);
    throw new Error(`the controller: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Kill the controller, which its supervisor starts again, and wait until one of another build responds and all nodes are
 * Ready. Not SIGTERM: its supervisor ends with a controller that was stopped. The store withstands it.
 */
async function replaceController(plan: UpgradePlan, main: string): Promise<void> {
  const running = (): ProcessMark | undefined => readClusterFile()?.controller;
  const former = running();
  if (former !== undefined && programOf(former.pid) !== main) signalProcess(former, 'SIGKILL');
  let why = 'it has not started';
  for (const end = performance.now() + START_MS; performance.now() < end; ) {
    await pause(plan);
    const now = running();
    if (now === undefined || !isAlive(now) || programOf(now.pid) !== main) continue;
    try {
      const waiting = (await plan.health()).find(({ notReady }) => notReady !== undefined);
      if (waiting === undefined) return;
      why = `node ${waiting.name} is not Ready: ${waiting.notReady}`;
    } catch (error) {
      why = (error as Error).message;
    }
  }
  throw new Error(`it does not work after ${START_MS / 1000} s: ${why}`);
}

/** @returns what failed */
async function rollBack(plan: UpgradePlan, nodes: readonly string[]): Promise<string[]> {
  const failures: string[] = [];
  for (const name of nodes) {
    try {
      const undisturbed = { ...plan, signal: new AbortController().signal };
      await replaceAgent(undisturbed, name, (builds) => builds.withdraw(), plan.from.main);
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  return failures;
}
