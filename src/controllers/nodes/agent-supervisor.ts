/**
 * Keeps one agent per node running: one that ends is started again, one that hangs or is stopped is killed first. Agents have
 * sessions of their own (setsid), so they survive a killed controller; the next controller finds them through
 * `nodes/<node>/agent.json` and takes them over instead of starting a second one.
 *
 * While `dataplane upgrade` runs, a node may be assigned another build (agent-build.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { agentLifeSigns } from '../../api/agent-socket.ts';
import { LifeWatch, LOOK_MS } from '../../linux/life-signs.ts';
import { findProcess, isAlive, type ProcessMark, signalProcess } from '../../linux/processes.ts';
import { replaceFile } from '../../linux/replace-file.ts';
import { AgentBuilds } from './agent-build.ts';

const MIN_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5000;
/** An agent that ran this long is restarted without back-off. */
const STEADY_MS = 10_000;
const KILL_AFTER_MS = 3000;

export interface AgentSupervisorOptions {
  nodes: readonly string[];
  /**
   * Program and arguments of a node's agent. It must become the agent by exec, so that its pid is the agent's.
   * `main`: the program of another build, if the node is assigned one.
   */
  command: (node: string, main?: string) => readonly [program: string, ...args: string[]];
  stateDir: string;
  /** Called when the agent of a node is killed because it hangs. @param why such as `is stopped` */
  onKilled?: (node: string, why: string) => void;
  log?: (line: string) => void;
}

export interface AgentSupervisor {
  /** Pid of a node's agent, while it runs. */
  pidOf(node: string): number | undefined;
  /** Stops supervising. The agents keep running; the next supervisor finds them. */
  release(): void;
  /** SIGTERM to all, SIGKILL three seconds later to those that are still running. */
  close(): Promise<void>;
}

/** The command line of an agent in its node's network namespace. */
export function agentCommand(main: string, socketPath: string): AgentSupervisorOptions['command'] {
  return (node, assigned = main) => [
    // Not `ip netns exec`: that creates a new mount namespace, in which the pods' network namespaces would be mounted
    // invisibly to all other processes.
    ...(['nsenter', `--net=/run/netns/dp-node-${node}`] as const),
    ...[process.execPath, assigned, 'agent', '--node', node, '--api', socketPath, '--standby'],
  ];
}

export function startAgentSupervisor(options: AgentSupervisorOptions): AgentSupervisor {
  const keepers = new Map(options.nodes.map((node) => [node, new Keeper(node, options)]));
  for (const keeper of keepers.values()) keeper.start();
  return {
    pidOf: (node) => keepers.get(node)?.process?.pid,
    release: () => {
      for (const keeper of keepers.values()) keeper.release();
    },
    close: async () => {
      await Promise.all([...keepers.values()].map((keeper) => keeper.close()));
    },
  };
}

class Keeper {
  process: ProcessMark | undefined;
  private readonly node: string;
  private readonly options: AgentSupervisorOptions;
  private readonly directory: string;
  private readonly builds: AgentBuilds;
  private backoffMs = MIN_BACKOFF_MS;
  private timer: NodeJS.Timeout | undefined;
  private watch: NodeJS.Timeout | undefined;
  private child: ChildProcess | undefined;
  private closing = false;
  /** False while the disk is full: it is tried again at each look. */
  private isRecorded = true;
  private ended: () => void = () => {};

  constructor(node: string, options: AgentSupervisorOptions) {
    this.node = node;
    this.options = options;
    this.directory = join(options.stateDir, 'nodes', node);
    this.builds = new AgentBuilds(options.stateDir, node);
  }

  start(): void {
    mkdirSync(this.directory, { recursive: true });
    const left = this.recorded();
    if (left === undefined) this.spawn();
    else this.adopt(left);
  }

  release(): void {
    this.closing = true;
    clearTimeout(this.timer);
    clearInterval(this.watch);
    this.child?.unref();
  }

  async close(): Promise<void> {
    this.closing = true;
    clearTimeout(this.timer);
    if (this.process === undefined) return;
    const end = new Promise<void>((resolve) => {
      this.ended = resolve;
    });
    this.signal('SIGTERM');
    const kill = setTimeout(() => this.signal('SIGKILL'), KILL_AFTER_MS);
    await end;
    clearTimeout(kill);
  }

  private spawn(): void {
    const [program, ...args] = this.options.command(this.node, this.builds.assigned());
    const log = openSync(join(this.options.stateDir, `agent-${this.node}.log`), 'a', 0o600);
    const startedAt = Date.now();
    let child: ChildProcess;
    try {
      // By default glibc has eight arenas a core, and what each thread has freed stays in its own (mallopt(3)).
      const env = { ...process.env, MALLOC_ARENA_MAX: '2' };
      child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env });
    } finally {
      closeSync(log);
    }
    child.on('error', (error) => {
      this.report(`cannot be started: ${error.message}`);
      if (child.pid === undefined) this.exited(startedAt);
    });
    if (child.pid === undefined) return;
    this.child = child;
    child.on('exit', (code, signal) => {
      if (!this.closing) this.report(`ended ${signal ?? `with status ${code}`}`);
      this.exited(startedAt);
    });
    this.process = findProcess(child.pid) ?? { pid: child.pid, startTime: '' };
    this.record(this.process);
    const mark = this.process;
    this.lookAfter(mark, () => {
      if (!this.isRecorded) this.record(mark);
    });
  }

  private adopt(record: ProcessMark): void {
    this.process = record;
    const startedAt = Date.now();
    // Only a child can be waited for.
    this.lookAfter(record, () => {
      if (!isAlive(record)) this.exited(startedAt);
    });
  }

  /** Look at the process regularly; if it hangs, kill it, so that it is started again. */
  private lookAfter(mark: ProcessMark, look: () => void): void {
    const life = new LifeWatch(mark.pid, agentLifeSigns(this.options.stateDir, this.node));
    clearInterval(this.watch);
    this.watch = setInterval(() => {
      const why = this.closing ? undefined : life.look();
      if (why !== undefined && signalProcess(mark, 'SIGKILL')) {
        this.report(`${why} and is killed`);
        this.options.onKilled?.(this.node, why);
      }
      if (!this.closing && this.builds.isAbandoned()) {
        this.report('returns to its former build: the upgrade has ended before it was done');
        signalProcess(mark, 'SIGTERM');
      }
      look();
    }, LOOK_MS);
  }

  private exited(startedAt: number): void {
    this.process = undefined;
    clearInterval(this.watch);
    rmSync(join(this.directory, 'agent.json'), { force: true });
    this.ended();
    if (this.closing) return;
    if (Date.now() - startedAt > STEADY_MS) this.backoffMs = MIN_BACKOFF_MS;
    this.timer = setTimeout(() => this.spawn(), this.backoffMs);
    this.backoffMs = Math.min(this.backoffMs * 2, MAX_BACKOFF_MS);
  }

  private signal(signal: NodeJS.Signals): void {
    signalProcess(this.process, signal);
  }

  private record(record: ProcessMark): void {
    try {
      replaceFile(join(this.directory, 'agent.json'), `${JSON.stringify(record)}\n`, { mode: 0o644 });
      this.isRecorded = true;
    } catch (error) {
      if (this.isRecorded) this.report(`is running, but cannot be recorded yet: ${(error as Error).message}`);
      this.isRecorded = false;
    }
  }

  private recorded(): ProcessMark | undefined {
    try {
      const record = JSON.parse(readFileSync(join(this.directory, 'agent.json'), 'utf8')) as ProcessMark;
      return isAlive(record) ? record : undefined;
    } catch {
      return undefined;
    }
  }

  private report(text: string): void {
    this.options.log?.(`agent of node ${this.node} ${text}`);
  }
}
