/**
 * A program in a container of runc that shares the machine's processes and files, as a privileged pod with hostPID,
 * hostNetwork and hostPath volumes: what is different are its control groups, with which everything in it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { output, type Ran, run } from './cluster.ts';

const ALL = ['bounding', 'effective', 'inheritable', 'permitted'] as const;

/** Undefined if runc can run containers here. */
export async function whyNoRunc(): Promise<string | undefined> {
  return (await run(['sh', '-c', 'command -v runc'])).status === 0 ? undefined : 'no runc';
}

export class RuncContainer {
  readonly id: string;
  /** What it has written. */
  log = '';
  private readonly bundle = mkdtempSync(join(tmpdir(), 'dataplane-bundle-'));
  private process: ChildProcess | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** @param netns a named network namespace */
  start(args: readonly string[], netns: string): void {
    const rootfs = join(this.bundle, 'rootfs');
    mkdirSync(rootfs);
    writeFileSync(join(this.bundle, 'config.json'), JSON.stringify(this.config(args, netns, rootfs)));
    const child = spawn('runc', ['run', '--bundle', this.bundle, this.id], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
      });
    }
    this.process = child;
  }

  /**
   * End it as kubelet does: SIGTERM, and after the grace period SIGKILL, for the first process; then everything in its groups.
   */
  async end(graceMs: number): Promise<void> {
    const { process: child } = this;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null) {
      await output(run(['runc', 'kill', this.id, 'TERM']));
      const timer = setTimeout(() => void run(['runc', 'kill', this.id, 'KILL']), graceMs);
      await ended;
      clearTimeout(timer);
    }
    await this.remove();
    // The runtime no longer reads what the container writes.
    child.stdout?.destroy();
    child.stderr?.destroy();
  }

  /** Everything in it ends at once. */
  async remove(): Promise<Ran> {
    const ran = await run(['runc', 'delete', '--force', this.id]);
    rmSync(this.bundle, { recursive: true, force: true });
    return ran;
  }

  private config(args: readonly string[], netns: string, rootfs: string): object {
    const capabilities = grantedCapabilities();
    return {
      ociVersion: '1.0.2',
      process: {
        args,
        cwd: '/',
        env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
        user: { uid: 0, gid: 0 },
        capabilities: Object.fromEntries(ALL.map((set) => [set, capabilities])),
      },
      root: { path: rootfs },
      mounts: mountsOfHost(rootfs),
      linux: {
        cgroupsPath: `/dataplane-test/${this.id}`,
        resources: { devices: [{ allow: true, access: 'rwm' }] },
        namespaces: [{ type: 'mount' }, { type: 'network', path: `/run/netns/${netns}` }],
        rootfsPropagation: 'rslave',
      },
    };
  }
}

/** capability.h, by number. */
const CAPABILITIES = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
).split(' ');

/** All that this process may grant. */
function grantedCapabilities(): string[] {
  const [, hex = '0'] = /^CapBnd:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const bits = BigInt(`0x${hex}`);
  return CAPABILITIES.flatMap((name, number) => ((bits >> BigInt(number)) & 1n ? [`CAP_${name}`] : []));
}

/** Every directory of the machine; links are made in the root itself. */
function mountsOfHost(rootfs: string): object[] {
  return readdirSync('/').flatMap((name) => {
    const path = `/${name}`;
    if (lstatSync(path).isSymbolicLink()) {
      symlinkSync(readlinkSync(path), join(rootfs, name));
      return [];
    }
    if (!lstatSync(path).isDirectory() || !existsSync(path)) return [];
    return [{ destination: path, source: path, type: 'bind', options: ['rbind', 'rslave'] }];
  });
}
