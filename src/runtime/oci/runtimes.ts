/**
 * Which program starts containers of images on this node: crun, else runc, where one of them works, else our own launcher.
 * Whether it works is found out with a container, once, when the first one is to be started: a runtime may be installed
 * and yet refuse this machine's control groups, or lack a feature.
 */
import { closeSync, existsSync, mkdirSync, openSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerRuntime } from '../../api/cluster-options.ts';
import type { Container, Pod } from '../../api/types/objects.ts';
import { findProgram } from '../../linux/find-program.ts';
import { waitGone } from '../../linux/processes.ts';
import type { LaunchPlan } from '../container/launch-script.ts';
import { exitOf, StartError, startContainer } from '../container/process.ts';
import { hostDevices } from '../files/host-mounts.ts';
import type { PodGroups } from '../pod/groups.ts';
import type { OciRuntime } from './runtime.ts';

/** In order of preference: crun starts a container with less than half of the processor time that runc needs. */
const CANDIDATES = ['crun', 'runc'] as const;
/** Where systems have their programs and libraries. */
const PROGRAM_DIRECTORIES = ['/usr', '/bin', '/lib', '/lib64', '/nix'];
const TRIAL_MS = 20_000;

export class OciRuntimes {
  private readonly wanted: ContainerRuntime;
  private readonly stateDir: string;
  private readonly groups: PodGroups;
  private readonly log: (message: string) => void;
  private found: Promise<OciRuntime | undefined> | undefined;

  constructor(wanted: ContainerRuntime, stateDir: string, groups: PodGroups, log: (message: string) => void) {
    this.wanted = wanted;
    this.stateDir = stateDir;
    this.groups = groups;
    this.log = log;
  }

  /** @returns undefined: the launcher. @throws StartError if the one that was asked for is not installed */
  async find(): Promise<OciRuntime | undefined> {
    if (this.wanted !== 'auto') return this.named(this.wanted);
    this.found ??= this.firstThatWorks();
    return this.found;
  }

  private named(name: 'crun' | 'runc' | 'launcher'): OciRuntime | undefined {
    if (name === 'launcher') return undefined;
    const path = findProgram(name);
    if (path === undefined) throw new StartError(`--container-runtime ${name}: there is no ${name} on PATH`);
    return { name, path };
  }

  private async firstThatWorks(): Promise<OciRuntime | undefined> {
    for (const name of CANDIDATES) {
      const path = findProgram(name);
      if (path === undefined) continue;
      const why = await this.tryOut({ name, path });
      if (why === undefined) return { name, path };
      this.log(`containers are not started by ${path}, which does not work here: ${why}`);
    }
    return undefined;
  }

  /** Run `true` in a container. @returns why that did not succeed */
  private async tryOut(runtime: OciRuntime): Promise<string | undefined> {
    const directory = join(this.stateDir, `try-${runtime.name}-${process.pid}`);
    const log = openLog(directory);
    let group: string | undefined;
    try {
      group = this.groups.make(directory, NO_POD, NO_CONTAINER, 1);
      const plan = { ...trialPlan(directory), runtime, group, groups: this.groups.joinFiles(group) };
      const started = await startContainer(plan, process.pid, undefined, log, () => {});
      await waitGone([started.keeper], TRIAL_MS);
      const code = exitOf(directory, started)?.code;
      return code === 0 ? undefined : `a program in a container ended with ${code ?? 'no status'}`;
    } catch (error) {
      return (error as Error).message;
    } finally {
      closeSync(log);
      if (group !== undefined) await this.groups.removeOf(directory).catch((error: Error) => this.log(error.message));
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

const NO_CONTAINER: Container = { name: 'try', image: '' };
const NO_POD = { spec: { containers: [NO_CONTAINER] } } as unknown as Pod;

function openLog(directory: string): number {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, 'layer'), { recursive: true, mode: 0o700 });
  return openSync(join(directory, 'log'), 'w', 0o600);
}

/** The programs of this machine in an image without any. */
function trialPlan(directory: string): LaunchPlan {
  return {
    title: 'trial of a container runtime',
    directory,
    root: { store: directory, layers: ['layer'], user: '', files: { '/etc/hostname': 'trial\n' } },
    layers: [],
    devices: hostDevices(),
    hidden: [],
    readOnly: [],
    directories: [],
    mounts: PROGRAM_DIRECTORIES.filter((path) => existsSync(path)).map((target) => {
      return { source: realpathSync(target), target, readOnly: true, file: false };
    }),
    workingDir: '/',
    environment: new Map(),
    privileges: {
      ...{ user: undefined, group: undefined, groups: [], capabilities: ['kill'] },
      ...{ noNewPrivileges: false, filtered: true },
    },
    readOnlyRoot: false,
    command: [findProgram('true') ?? '/bin/true'],
    // The least of any pod.
    oomScore: -997,
    groups: [],
  };
}
