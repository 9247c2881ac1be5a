/**
 * Settings under /proc/sys that belong to a network namespace: the files apply to the namespace of the thread that
 * opens them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { readIfPresent } from './read-file.ts';

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

/** Those of the ranges that are not reserved. */
export function unreserved(wanted: readonly PortRange[]): PortRange[] {
  const reserved = reservedPorts();
  return wanted.filter(([low, high]) => !reserved.some(([first, last]) => first <= low && last >= high));
}

/** Keep the node's own sockets from using these ports, in addition to those already reserved. */
export function reservePorts(ranges: readonly PortRange[]): void {
  if (ranges.length > 0) writeReserved([...reservedPorts(), ...ranges]);
}

/** Let the node's own sockets use these ports again. */
export function releasePorts(ranges: readonly PortRange[]): void {
  let left = reservedPorts();
  for (const [low, high] of ranges) {
    left = left.flatMap(([first, last]): PortRange[] => {
      const below: PortRange = [first, Math.min(last, low - 1)];
      const above: PortRange = [Math.max(first, high + 1), last];
      return [below, above].filter(([from, to]) => from <= to);
    });
  }
  writeReserved(left);
}

/** The value of a sysctl, by its path under /proc/sys; undefined if the kernel does not have it. */
export function readSysctl(name: string): string | undefined {
  return readIfPresent(`/proc/sys/${name}`)?.trim();
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
