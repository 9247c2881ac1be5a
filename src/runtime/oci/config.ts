/**
 * The configuration of a container for an OCI runtime (runtime-spec 1.0, config.md and config-linux.md). The namespaces of
 * the pod and the control group are there before: the keeper is in the former, and the latter has its limits.
 */
import { readFileSync } from 'node:fs';
import { CAPABILITIES } from '../../linux/credentials.ts';
import { defaultProfile } from '../../linux/seccomp/profile.ts';
import { statusMask } from '../../linux/status-mask.ts';
import type { Account } from '../launcher/account.ts';
import type { LaunchSpec, TreeMount } from '../launcher/spec.ts';
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
  spec: LaunchSpec;
  /** A process in the PID namespace that it joins; undefined: it gets one of its own. */
  processesOf?: number | undefined;
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

export function ociConfig({ spec, processesOf, account, environment, root, hooks, cgroupsPath }: OciFacts): object {
  const { privileges } = spec;
  const own = ownCapabilities();
  const permitted = passedOn(own, privileges.capabilities);
  // A user other than root has none after execve(2); the bounding set is for programs with file capabilities.
  const held = account.uid === 0 ? permitted : [];
  const hook = (path: string) => [{ path: '/bin/sh', args: ['sh', path] }];
  return {
    ociVersion: VERSION,
    process: {
      terminal: spec.tty,
      user: { uid: account.uid, gid: account.gid, additionalGids: account.groups },
      args: spec.command,
      env: environment,
      cwd: spec.workingDir,
      capabilities: { bounding: permitted, effective: held, permitted: held, inheritable: [], ambient: [] },
      noNewPrivileges: privileges.noNewPrivileges,
      oomScoreAdj: oomScoreOf(own, spec.oomScore),
    },
    root: { path: root, readonly: spec.readOnlyRoot },
    mounts: [...KERNEL_MOUNTS, ...spec.devices.map((path) => bind(path, path, [])), ...spec.mounts.map(volumeMount)],
    hooks: { createRuntime: hook(hooks.created), poststart: hook(hooks.started) },
    linux: {
      namespaces: [
        { type: 'mount' },
        { type: 'cgroup' },
        processesOf === undefined ? { type: 'pid' } : { type: 'pid', path: `/proc/${processesOf}/ns/pid` },
      ],
      ...(cgroupsPath !== undefined && { cgroupsPath }),
      maskedPaths: [...spec.hiddenFiles, ...spec.hiddenDirectories],
      readonlyPaths: spec.readOnly,
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

const volumeMount = ({ source, target, readOnly }: TreeMount): Mount =>
  readOnly
    ? bind(source, target, ['ro', 'nodev'])
    : { ...bind(source, target, ['nodev']), options: ['rbind', 'nodev'] };

/** Those that this process can pass on: a runtime refuses to grant others. @param names without `cap_`; undefined: all */
const passedOn = (own: readonly string[], names: readonly string[] | undefined): string[] =>
  own.filter((name) => names === undefined || names.includes(name)).map((name) => `CAP_${name.toUpperCase()}`);

/** A machine may forbid to lower it, which a runtime takes for a failure: the container has that of the agent then. */
function oomScoreOf(own: readonly string[], wanted: number): number {
  if (own.includes('sys_resource')) return wanted;
  return Math.max(wanted, Number(readFileSync('/proc/self/oom_score_adj', 'latin1')));
}

function ownCapabilities(): string[] {
  const mask = statusMask(readFileSync('/proc/self/status', 'latin1'), 'CapPrm');
  return CAPABILITIES.filter((_, i) => (mask >> BigInt(i)) & 1n);
}
