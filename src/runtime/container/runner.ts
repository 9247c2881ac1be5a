/**
 * One container of a pod over all its instances. Only the pod's worker calls it, one call at a time; asynchronous
 * events (an exit, a probe result) are recorded and wake the worker.
 */
import { createHash } from 'node:crypto';
import { closeSync } from 'node:fs';
import { containerNamed } from '../../api/containers.ts';
import type { Container, EphemeralContainer, Handler, Pod, Probe } from '../../api/types/objects.ts';
import { isAlive, signalProcess } from '../../linux/processes.ts';
import { ContainerConfigError } from '../files/config-source.ts';
import type { RunnableImage } from '../image/images.ts';
import type { PodContext } from '../pod/context.ts';
import { restarts } from '../pod/status.ts';
import { type ContainerRecord, type ContainerRole, containerDirectory, newRecord } from '../state.ts';
import { backOff, printDelay } from './back-off.ts';
import { execCommand } from './exec.ts';
import { makeGroup, removeGroup, whyOutOfMemory } from './group.ts';
import { type HandlerTarget, runHandler } from './handlers.ts';
import type { LaunchPlan } from './launch-script.ts';
import { LogTimes } from './log-times.ts';
import { beginLog, boundLog } from './logs.ts';
import { missingImage } from './missing-image.ts';
import { planContainer } from './plan.ts';
import { ContainerProbes } from './probes.ts';
import {
  endRest,
  exitOf,
  findContainerProcess,
  StartError,
  startContainer,
  stopContainer,
  withMounts,
} from './process.ts';
import { recordEnd, recordStart, recordWaiting } from './record.ts';
import { openStdin, releaseStdin } from './stdin.ts';
import { terminationMessage } from './termination-message.ts';

/** Retry interval for a manifest that cannot be applied: a missing object may have been created. */
const CONFIG_RETRY_MS = 2_000;
const START_ERROR_CODE = 128;
const HOOK_TIMEOUT_MS = 30_000;
const OOM_KILLED = 'OOMKilled';
export const DEFAULT_GRACE_SECONDS = 30;

const LISTS = {
  regular: 'containers',
  init: 'initContainers',
  sidecar: 'initContainers',
  ephemeral: 'ephemeralContainers',
} as const;

export class ContainerRunner {
  readonly name: string;
  readonly role: ContainerRole;
  private readonly context: PodContext;
  private probes: ContainerProbes | undefined;
  private logTimes: LogTimes | undefined;
  /** Why the running instance has to be restarted; undefined if it does not. */
  private restartCause: { message: string; probe?: Probe } | undefined;

  constructor(context: PodContext, name: string, role: ContainerRole) {
    this.context = context;
    this.name = name;
    this.role = role;
  }

  get record(): ContainerRecord {
    const { containers } = this.context.state;
    containers[this.name] ??= newRecord(this.name);
    return containers[this.name]!;
  }

  get running(): boolean {
    return this.record.phase === 'running';
  }

  get completed(): boolean {
    return this.record.phase === 'terminated' && this.record.ended?.exitCode === 0;
  }

  private get pod(): Pod {
    return this.context.pod;
  }

  private get spec(): EphemeralContainer {
    return containerNamed(this.pod.spec, this.name)!;
  }

  /** Is it in a PID namespace with other containers? */
  private get sharesProcesses(): boolean {
    const { shareProcessNamespace, hostPID } = this.pod.spec;
    return shareProcessNamespace === true || hostPID === true || Boolean(this.spec.targetContainerName);
  }

  private get directory(): string {
    return containerDirectory(this.context.podDir, this.name);
  }

  /** After a restart of the agent: an interrupted start has either happened or not. */
  adopt(): void {
    const { record } = this;
    if (record.phase === 'starting') {
      const found = findContainerProcess(this.directory);
      if (found === undefined) this.wait('ContainerCreating');
      else this.markRunning(withMounts(found, this.sharesProcesses));
    } else if (record.phase === 'running') {
      this.logTimes = new LogTimes(this.context.podDir, this.name);
      this.runProbes({ started: record.started, ready: record.ready });
    }
  }

  /** Has the running instance ended? */
  observe(): void {
    const { record } = this;
    if (record.phase !== 'running' || record.process === undefined) return;
    const exit = exitOf(this.directory, record.process);
    if (exit === undefined) {
      boundLog(this.context.podDir, this.name);
      this.logTimes?.look();
    } else {
      endRest(record.process);
      const message = terminationMessage(this.directory, this.context.podDir, this.spec, exit.code);
      const why = whyOutOfMemory(this.context, record, this.spec);
      if (why !== undefined) this.event('Warning', OOM_KILLED, why);
      this.markEnded(exit.code, exit.atMs, message, why && OOM_KILLED);
    }
  }

  /**
   * Start, restart or end the container as required by the manifest and events. @returns when to call again, if only
   * time matters
   */
  async reconcile(): Promise<number | undefined> {
    const { record } = this;
    if (record.phase === 'running') {
      if ((this.role === 'regular' || this.role === 'sidecar') && record.specHash !== hashOf(this.spec)) {
        this.restartCause = { message: `Container ${this.name} definition changed, will be restarted` };
      }
      if (this.restartCause === undefined) return undefined;
      const { message, probe } = this.restartCause;
      await this.stop(probe?.terminationGracePeriodSeconds ?? this.graceSeconds(), message);
      this.restartCause = undefined;
    }
    if (record.phase === 'terminated') {
      if (!restarts(this.pod, record, this.role)) return undefined;
      this.wait('CrashLoopBackOff', this.backOffText(record));
    }
    // After stopping it, so that an instance without a delay starts in this call.
    const nowMs = Date.now();
    if (record.notBeforeMs > nowMs) return record.notBeforeMs;
    return this.start(nowMs);
  }

  /** Restart at once, whatever the restart policy and the back-off. */
  restartNow(): void {
    this.record.backOffMs = 0;
    this.record.notBeforeMs = 0;
    if (this.record.phase === 'terminated') this.wait('ContainerCreating');
    if (this.running) this.restartCause = { message: `Container ${this.name} is restarted on request` };
  }

  /** End the running instance; returns when it has ended. */
  async stop(graceSeconds: number, message = `Stopping container ${this.name}`): Promise<void> {
    const { record } = this;
    if (record.phase !== 'running' || record.process === undefined) return;
    this.event('Normal', 'Killing', message);
    this.stopProbes();
    const end = Date.now() + graceSeconds * 1000;
    const preStop = this.spec.lifecycle?.preStop;
    if (preStop !== undefined && graceSeconds > 0 && isAlive(record.process.main)) {
      const outcome = await runHandler(preStop, this.target(), graceSeconds * 1000);
      if (!outcome.ok) this.event('Warning', 'FailedPreStopHook', `PreStopHook failed: ${outcome.message}`);
    }
    // Like kubelet: a hook that used up the grace period leaves two seconds.
    const left = graceSeconds > 0 ? Math.max(end - Date.now(), 2000) : 0;
    await stopContainer(record.process, this.image()?.stopSignal ?? 'SIGTERM', left);
    this.observe();
  }

  /** End the grace period now. */
  kill(): void {
    signalProcess(this.record.process?.main, 'SIGKILL');
  }

  /** The sandbox is gone, and the container with it. */
  sandboxLost(): void {
    if (this.record.phase !== 'running') return;
    this.kill();
    this.markEnded(137, Date.now(), 'the pod sandbox was lost');
    // Not the container's fault: no back-off.
    this.record.notBeforeMs = 0;
  }

  stopProbes(): void {
    this.probes?.stop();
    this.probes = undefined;
  }

  /** This process stops managing the container, which keeps running. */
  release(): void {
    this.stopProbes();
    this.closeLogTimes();
  }

  private closeLogTimes(): void {
    this.logTimes?.close();
    this.logTimes = undefined;
    releaseStdin(this.directory);
  }

  graceSeconds(): number {
    return this.pod.spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE_SECONDS;
  }

  private image(): RunnableImage | undefined {
    return this.context.images.find(this.spec.image);
  }

  private async start(nowMs: number): Promise<number | undefined> {
    const { context, record, spec } = this;
    const image = this.image();
    if (image === undefined) return this.waitForImage(nowMs);
    let plan: LaunchPlan;
    try {
      plan = await planContainer(
        this.pod,
        spec,
        image,
        { ...context.facts(), instance: record.instances + 1 },
        context.source,
      );
    } catch (error) {
      if (!(error instanceof ContainerConfigError)) throw error;
      return this.refuse('CreateContainerConfigError', error.message, nowMs);
    }
    const target = this.spec.targetContainerName;
    const targeted = target ? context.state.containers[target]?.process : undefined;
    if (target && !isAlive(targeted?.main)) {
      return this.refuse('CreateContainerError', `target container ${JSON.stringify(target)} is not running`, nowMs);
    }
    // With hostPID the namespace is that of this process.
    const shared = targeted?.main ?? (this.pod.spec.hostPID ? process : context.state.pause!);
    if (this.sharesProcesses) plan.processesOf = shared.pid;
    this.wait('ContainerCreating');
    this.event('Normal', 'Pulled', `Container image "${spec.image}" already present on machine`);
    recordStart(record, hashOf(spec), nowMs, this.pod.metadata.uid);
    this.event('Normal', 'Created', `Created container: ${this.name}`);
    record.imageID = image.imageID;
    record.imageRoot = image.root !== undefined;
    context.save();
    const log = beginLog(context.podDir, this.name);
    const input = openStdin(this.directory, spec);
    try {
      const groups = makeGroup(context, record, spec);
      const runtime = plan.root && (await context.runtimes.find());
      const complete = { ...plan, runtime, groups, group: record.group };
      this.markRunning(await startContainer(complete, context.state.pause!.pid, input, log, context.wake));
      this.event('Normal', 'Started', `Started container ${this.name}`);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      const missing = image.package !== undefined && / no such file /.test(error.message);
      const message = missing ? `${error.message} (install it: apt-get install ${image.package})` : error.message;
      this.event('Warning', 'Failed', `Error: ${message}`);
      this.markEnded(START_ERROR_CODE, Date.now(), message, 'StartError');
      context.wake();
    } finally {
      closeSync(log);
      if (input !== undefined) closeSync(input);
    }
    return undefined;
  }

  private event(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.context.event(type, reason, message, `spec.${LISTS[this.role]}{${this.name}}`);
  }

  /** The store is looked into again soon, and not with a growing delay: nothing is fetched from elsewhere. */
  private waitForImage(nowMs: number): number {
    const { record, spec, context } = this;
    const missing = missingImage(spec, record.reason, context.images.explainMissing(spec.image));
    if (record.reason !== missing.reason || record.message !== missing.message) {
      for (const event of missing.events) this.event(...event);
      this.wait(missing.reason, missing.message);
    }
    return nowMs + CONFIG_RETRY_MS;
  }

  private refuse(reason: string, message: string, nowMs: number): number {
    if (this.record.reason !== reason || this.record.message !== message) {
      this.event('Warning', 'Failed', `Error: ${message}`);
      this.wait(reason, message);
    }
    return nowMs + CONFIG_RETRY_MS;
  }

  private wait(reason: string, message?: string): void {
    recordWaiting(this.record, reason, message);
    this.context.save();
  }

  private markRunning(process: ContainerRecord['process']): void {
    const { record } = this;
    record.phase = 'running';
    record.process = process;
    record.reason = undefined;
    record.message = undefined;
    record.startedAtMs = Date.now();
    this.restartCause = undefined;
    this.logTimes?.close();
    this.logTimes = new LogTimes(this.context.podDir, this.name);
    this.runProbes();
    this.context.save();
    const hook = this.spec.lifecycle?.postStart;
    if (hook !== undefined) void this.runPostStart(hook);
  }

  private markEnded(exitCode: number, atMs: number, message: string | undefined, reason?: string): void {
    const { record } = this;
    this.stopProbes();
    this.closeLogTimes();
    removeGroup(this.context, record);
    const startedAtMs = record.startedAtMs ?? atMs;
    recordEnd(record, startedAtMs, atMs, exitCode, message, reason);
    backOff(record, atMs - startedAtMs, atMs, this.context.backOffMs);
    this.context.save();
  }

  private backOffText(record: ContainerRecord): string {
    const { namespace = 'default', name, uid } = this.pod.metadata;
    const delay = printDelay(Math.max(0, record.notBeforeMs - (record.ended?.finishedAtMs ?? 0)));
    const pod = `${name}_${namespace}(${uid})`;
    if (record.notBeforeMs > Date.now()) {
      this.event('Warning', 'BackOff', `Back-off restarting failed container ${this.name} in pod ${pod}`);
    }
    return `back-off ${delay} restarting failed container=${this.name} pod=${pod}`;
  }

  private runProbes(known?: { started: boolean; ready: boolean }): void {
    const { record } = this;
    this.stopProbes();
    if (known === undefined) {
      record.started = this.spec.startupProbe === undefined;
      record.ready = record.started && this.spec.readinessProbe === undefined;
    }
    if (this.role !== 'regular' && this.role !== 'sidecar') return;
    this.probes = new ContainerProbes(
      this.spec,
      this.target(),
      {
        onChange: ({ started, ready }) => {
          if (!this.running) return;
          record.started = started;
          record.ready = ready;
          this.context.save();
          this.context.wake();
        },
        onDead: (kind, message) => {
          const text = `Container ${this.name} failed ${kind.toLowerCase()} probe, will be restarted`;
          this.event('Warning', 'Unhealthy', `${kind} probe failed: ${message}`);
          const probe = kind === 'Startup' ? this.spec.startupProbe : this.spec.livenessProbe;
          this.restartCause = { message: text, ...(probe && { probe }) };
          this.context.wake();
        },
        onUnhealthy: (kind, message) => this.event('Warning', 'Unhealthy', `${kind} probe failed: ${message}`),
      },
      record.startedAtMs ?? Date.now(),
      known ?? { started: record.started, ready: record.ready },
    );
  }

  private async runPostStart(hook: Handler & { sleep?: { seconds: number } }): Promise<void> {
    const outcome = await runHandler(hook, this.target(), HOOK_TIMEOUT_MS);
    if (outcome.ok || !this.running) return;
    this.event('Warning', 'FailedPostStartHook', `PostStartHook failed: ${outcome.message}`);
    this.restartCause = { message: 'FailedPostStartHook' };
    this.context.wake();
  }

  private target(): HandlerTarget {
    const { context, name } = this;
    const { namespace = 'default', name: pod } = this.pod.metadata;
    return {
      podIP: context.state.podIP,
      container: this.spec,
      commandLine: (command) => execCommand({ stateDir: context.stateDir, namespace, pod, container: name, command }),
    };
  }
}

const hashOf = (container: Container): string =>
  createHash('sha256').update(JSON.stringify(container)).digest('hex').slice(0, 16);
