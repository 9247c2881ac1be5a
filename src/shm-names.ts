/**
 * Names of a node's shared memory under /dev/shm. Agent, workers, command line and tear-down find it by these alone, also
 * when the agent that made it is gone.
 */

/** Everything in /dev/shm that begins with this is a cluster's. */
export const SHM_PREFIX = 'dataplane-';

/** The tables of a node. */
export const TABLES = ['conntrack', 'services', 'routes', 'counters', 'fragments', 'policies'] as const;
/** Memory that every node has once: its tables, the words by which agent and workers control each other, and captures. */
const MEMORIES = [...TABLES, 'control', 'capture'] as const;
export type NodeMemory = (typeof MEMORIES)[number];
export type NodeMemoryNames = { readonly [memory in NodeMemory]: string };

/** Name of one of a node's memories. */
export function memoryName(node: string, memory: NodeMemory): string {
  return `${SHM_PREFIX}${node}-${memory}`;
}

/** Names of all of a node's memories. */
export function memoryNames(node: string): NodeMemoryNames {
  return Object.fromEntries(MEMORIES.map((memory) => [memory, memoryName(node, memory)])) as NodeMemoryNames;
}

/** Names of the two rings between a worker and the raw socket of the node's overlay. */
export function ringNames(node: string, overlay: string, worker: number): { outward: string; inward: string } {
  const name = `${SHM_PREFIX}${node}-${overlay}-${worker}`;
  return { outward: `${name}-out`, inward: `${name}-in` };
}

/** Nodes, sorted, whose `memory` is among the names in /dev/shm. */
export function nodesWith(memory: NodeMemory, names: readonly string[]): string[] {
  const ending = `-${memory}`;
  return names
    .filter((name) => name.startsWith(SHM_PREFIX) && name.endsWith(ending))
    .map((name) => name.slice(SHM_PREFIX.length, -ending.length))
    .filter((node) => node !== '')
    .sort();
}
