/** Settings under /proc/sys that belong to a network namespace: the files show those of the thread that opens them. */
import { readFileSync, writeFileSync } from 'node:fs';

/** Keep the node's own sockets off these ports, beside those that are reserved already. @returns 1 when that was new */
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
 * @param optional a kernel may do without it
 * @returns 1 when it had another value
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
