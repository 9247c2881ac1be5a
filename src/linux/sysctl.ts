/**
 * Settings under /proc/sys that belong to a network namespace: the files apply to the namespace of the thread that
 * opens them.
 */
import { readFileSync, writeFileSync } from 'node:fs';

/**
 * Keep the node's own sockets from using these ports, in addition to those already reserved. @returns 1 if that was a
 * change
 */
export function reservePorts([low, high]: readonly [number, number]): number {
  const name = 'net/ipv4/ip_local_reserved_ports';
  const reserved = readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  const covered = reserved.split(',').some((range) => {
    const [first = Number.NaN, last = first] = range.split('-').map(Number);
    return first <= low && last >= high;
  });
  return covered ? 0 : sysctl(name, `${reserved === '' ? '' : `${reserved},`}${low}-${high}`);
}

/**
 * Set a sysctl of the calling thread's network namespace, by its path under /proc/sys.
 * @param optional ignore it if the kernel does not have it
 * @returns 1 if it had another value
 */
export function sysctl(name: string, value: string, optional = false): number {
  const path = `/proc/sys/${name}`;
  try {
    if (readFileSync(path, 'utf8').trim() === value) return 0;
    writeFileSync(path, value);
    return 1;
  } catch (error) {
    if (!optional) throw error;
    return 0;
  }
}
