/**
 * The programs that the benchmark uses: their paths and versions, and the C programs of this folder, which it compiles.
 */
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '../../lib/result-directory.ts';
import { finish, onCleanUp, run } from './processes.ts';

/** Debian package of each program. */
const PACKAGES: Record<string, string> = {
  ip: 'iproute2',
  bridge: 'iproute2',
  iptables: 'iptables',
  'iptables-restore': 'iptables',
  'iptables-legacy': 'iptables',
  nft: 'nftables',
  iperf3: 'iperf3',
  sockperf: 'sockperf',
  wrk: 'wrk',
  trafgen: 'netsniff-ng',
  ping: 'iputils-ping',
  nginx: 'nginx',
  ethtool: 'ethtool',
  gcc: 'gcc',
  'ovs-vswitchd': 'openvswitch-switch',
  'ovsdb-server': 'openvswitch-switch',
};

export function has(program: string): boolean {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  return path.split(':').some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Which programs are missing and how to install them; undefined if none are. */
export function missing(programs: readonly string[]): string | undefined {
  const absent = programs.filter((program) => !has(program));
  if (absent.length === 0) return undefined;
  const packages = [...new Set(absent.map((program) => PACKAGES[program] ?? program))];
  return `${absent.join(', ')} not found: apt install ${packages.join(' ')}`;
}

const built = new Map<string, string>();

/** Path of the program built from bench/net/NAME.c; built once per run, in a directory of its own. */
export function compiled(name: string): string {
  const known = built.get(name);
  if (known) return known;
  const directory = mkdtempSync(join(tmpdir(), 'dpb-'));
  onCleanUp(directory, () => rmSync(directory, { recursive: true, force: true }));
  const program = join(directory, name);
  run(['gcc', '-O2', '-o', program, join(repositoryRoot(), 'bench/net', `${name}.c`)]);
  built.set(name, program);
  return program;
}

export interface Machine {
  date: string;
  kernel: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  loadBefore: string;
  versions: Record<string, string>;
}

/** The machine and the versions that the results depend on. */
export async function describeMachine(): Promise<Machine> {
  const versions: Record<string, string> = { node: process.version, v8: process.versions.v8! };
  const asked: [string, ...string[]][] = [
    ['ip', '-V'],
    ['iptables', '--version'],
    ['nft', '--version'],
    ['iperf3', '--version'],
    ['sockperf', '--version'],
    ['wrk', '--version'],
    ['trafgen', '--version'],
    ['nginx', '-v'],
    ['ovs-vswitchd', '--version'],
    ['gcc', '--version'],
  ];
  for (const words of asked) {
    if (!has(words[0])) continue;
    const { stdout, stderr } = await finish(words, 3000);
    versions[words[0]] = (stdout || stderr).split('\n')[0]!.trim();
  }
  return {
    date: new Date().toISOString(),
    kernel: readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    loadBefore: readFileSync('/proc/loadavg', 'utf8').trim(),
    versions,
  };
}
