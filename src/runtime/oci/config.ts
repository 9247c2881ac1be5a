/**
 * The configuration of a container for an OCI runtime (runtime-spec 1.0, config.md and config-linux.md). The namespaces of
 * the pod and the control group are there before: the keeper is in the former, and the latter has its limits.
 */
import { readFileSync } from 'node:fs';
import { CAPABILITIES } from '../../linux/credentials.ts';
import { defaultProfile } from '../../linux/seccomp/profile.ts';
import { statusMask } from '../../linux/status-mask.ts';
import { HIDDEN_DIRECTORIES } from '../container/hidden-directories.ts';
import type { BindMount, LaunchPlan } from '../container/launch-script.ts';
import { STANDARD_LINKS } from '../container/launch-spec.ts';
import type { Account } from '../launcher/account.ts';
import { ociSeccomp } from './seccomp.ts';

/** Supported by crun 0.20 and runc 1.0. */
const VERSION = '1.0.2';

interface Mount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

const kernelMount = (destination: string, type: string, ...options: string[]): Mount => ({
  destination,
  type,
  source: type,
  options,
});

const KERNEL_MOUNTS: readonly Mount[] = [
  kernelMount('/proc', 'proc', 'nosuid', 'nodev', 'noexec'),
  kernelMount('/sys', 'sysfs', 'nosuid', 'nodev', 'noexec', 'ro'),
  // nodev: nothing created in it is a device; the host's devices that a container has are mounted one by one.
  kernelMount('/dev', 'tmpfs', 'nosuid', 'nodev', 'mode=755', 'size=65536k'),
  kernelMount('/dev/pts', 'devpts', 'nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
  kernelMount('/dev/shm', 'tmpfs', 'nosuid', 'nodev', 'noexec', 'mode=1777', 'size=65536k'),
];

export interface OciFacts {
  plan: LaunchPlan;
  account: Account;
  /** `NAME=value` */
  environment: readonly string[];
  /** Absolute, where the keeper mounts it. */
  root: string;
  /** Scripts for the steps of the start. */
  hooks: { created: string; started: string };
  /** For a runtime that insists on managing the control group: its path below the root of each tree. */
  cgroupsPath?: string | undefined;
}

export function ociConfig({ plan, account, environment, root, hooks, cgroupsPath }: OciFacts): object {
  const { privileges, processesOf, tty = false } = plan;
  const permitted = capabilityNames(privileges.capabilities);
  // A user other than root has none after execve(2); the bounding set is for programs with file capabilities.
  const held = account.uid === 0 ? permitted : [];
  const hook = (path: string) => [{ path: '/bin/sh', args: ['sh', path] }];
  return {
    ociVersion: VERSION,
    process: {
      terminal: tty,
      user: { uid: account.uid, gid: account.gid, additionalGids: account.groups },
      args: plan.command,
      env: environment,
      cwd: plan.workingDir,
      capabilities: { bounding: permitted, effective: held, permitted: held, inheritable: [], ambient: [] },
      noNewPrivileges: privileges.noNewPrivileges,
      oomScoreAdj: oomScoreOf(plan.oomScore),
    },
    root: { path: root, readonly: plan.readOnlyRoot },
    mounts: [
      ...KERNEL_MOUNTS,
      ...plan.devices.filter((path) => !STANDARD_LINKS.has(path)).map((path) => bind(path, path, [])),
      ...plan.mounts.map(volumeMount),
    ],
    hooks: { createRuntime: hook(hooks.created), poststart: hook(hooks.started) },
    linux: {
      namespaces: [
        { type: 'mount' },
        { type: 'cgroup' },
        processesOf === undefined ? { type: 'pid' } : { type: 'pid', path: `/proc/${processesOf}/ns/pid` },
      ],
      ...(cgroupsPath !== undefined && { cgroupsPath }),
      maskedPaths: [...plan.hidden, ...HIDDEN_DIRECTORIES],
      readonlyPaths: plan.readOnly,
      ...(privileges.filtered && { seccomp: ociSeccomp(defaultProfile(privileges.capabilities)) }),
    },
  };
}

const bind = (source: string, destination: string, options: readonly string[]): Mount => ({
  destination,
  type: 'bind',
  source,
  options: ['bind', ...options],
});

const volumeMount = ({ source, target, readOnly }: BindMount): Mount =>
  readOnly
    ? bind(source, target, ['ro', 'nodev'])
    : { ...bind(source, target, ['nodev']), options: ['rbind', 'nodev'] };

/** Those that this process can pass on: a runtime refuses to grant others. @param names without `cap_`; undefined: all */
const capabilityNames = (names: readonly string[] | undefined): string[] =>
  ownCapabilities()
    .filter((name) => names === undefined || names.includes(name))
    .map((name) => `CAP_${name.toUpperCase()}`);

/** A machine may forbid to lower it, which a runtime takes for a failure: the container has that of the agent then. */
function oomScoreOf(wanted: number): number {
  if (ownCapabilities().includes('sys_resource')) return wanted;
  return Math.max(wanted, Number(readFileSync('/proc/self/oom_score_adj', 'latin1')));
}

function ownCapabilities(): string[] {
  const mask = statusMask(readFileSync('/proc/self/status', 'latin1'), 'CapPrm');
  return CAPABILITIES.filter((_, i) => (mask >> BigInt(i)) & 1n);
}
