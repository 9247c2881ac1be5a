/** Network namespaces with the prefix `dpb-`, and `ip` commands inside them. All devices are created inside these namespaces;
 * nothing is created in the host's own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { onCleanUp, run } from './processes.ts';

export const PREFIX = 'dpb-';
const STATE = '/run/dpb';

/** Refuses to run beside another benchmark, and removes what a killed one has left behind. Needs root. */
export function claimMachine(): void {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run this with sudo');
  const owner = `${STATE}/pid`;
  if (existsSync(owner)) {
    const pid = Number(readFileSync(owner, 'utf8'));
    if (pid !== process.pid && existsSync(`/proc/${pid}`)) {
      throw new Error(`another benchmark is running (pid ${pid}): wait for it, or end it`);
    }
  }
  removeAll();
  mkdirSync(STATE, { recursive: true });
  writeFileSync(owner, String(process.pid));
  onCleanUp(STATE, () => {
    removeAll();
    rmSync(STATE, { recursive: true, force: true });
  });
}

/** A directory for sockets and logs that is removed when the benchmark ends. */
export function stateDirectory(name: string): string {
  const path = `${STATE}/${name}`;
  mkdirSync(path, { recursive: true });
  return path;
}

function removeAll(): void {
  if (!existsSync('/run/netns')) return;
  for (const name of readdirSync('/run/netns')) if (name.startsWith(PREFIX)) removeNetns(name);
}

/** Creates a namespace with its loopback device up. */
export function addNetns(name: string): void {
  run(['ip', 'netns', 'add', name]);
  ip(name, 'link set lo up');
}

/** Ends the processes inside and removes the namespace, if it exists. */
export function removeNetns(name: string): void {
  if (!existsSync(`/run/netns/${name}`)) return;
  for (const pid of run(['ip', 'netns', 'pids', name]).split('\n').filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself meanwhile.
    }
  }
  run(['ip', 'netns', 'del', name]);
}

/** Runs `ip -n NETNS …`. @param words arguments, separated by blanks */
export function ip(netns: string, words: string): string {
  return run(['ip', '-n', netns, ...words.split(' ')]);
}

/** The command line that runs a command inside a namespace. */
export function inside(netns: string, ...words: string[]): string[] {
  return ['ip', 'netns', 'exec', netns, ...words];
}

/** Sets sysctls of one namespace: keys with slashes, below /proc/sys. */
export function sysctl(netns: string, values: Record<string, string | number>): void {
  const lines = Object.entries(values).map(([key, value]) => `echo ${value} > /proc/sys/${key}`);
  run(inside(netns, 'sh', '-ec', lines.join('\n')));
}
