/**
 * Settings under /proc/sys that belong to a network namespace: the files apply to the namespace of the thread that
 * opens them.
 */
import { readFileSync, writeFileSync } from 'node:fs';

/** Ports that a socket gets only by binding to them. */
const RESERVED = 'net/ipv4/ip_local_reserved_ports';

export type PortRange = readonly [first: number, last: number];

function reservedPorts(): PortRange[] {
  const text = readFileSync(`/proc/sys/${RESERVED}`, 'utf8').trim();
  return text === '' ? [] : text.split(',').map(rangeOf);
}

function rangeOf(text: string): PortRange {
  const [first = 0, last = first] = text.split('-').map(Number);
  return [first, last];
}

function writeReserved(ranges: readonly PortRange[]): void {
  writeFileSync(`/proc/sys/${RESERVED}`, ranges.map(([first, last]) => `${first}-${last}`).join());
}

/**
 * Keep the node's own sockets from using these ports, in addition to those already reserved.
 * @returns those that were not reserved before
 */
export function reservePorts(wanted: readonly PortRange[]): PortRange[] {
  const reserved = reservedPorts();
  const fresh = wanted.filter(([low, high]) => !reserved.some(([first, last]) => first <= low && last >= high));
  if (fresh.length > 0) writeReserved([...reserved, ...fresh]);
  return fresh;
}

/** Let the node's own sockets use these ports again. */
export function releasePorts(ports: ReadonlySet<number>): void {
  let left = reservedPorts();
  for (const port of ports) {
    left = left.flatMap((range): PortRange[] => {
      const [first, last] = range;
      if (port < first || port > last) return [range];
      return [[first, port - 1] as const, [port + 1, last] as const].filter(([from, to]) => from <= to);
    });
  }
  writeReserved(left);
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
