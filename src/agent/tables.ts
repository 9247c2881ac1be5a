/**
 * The node's tables in shared memory, created when the agent starts.
 *
 * Of a previous agent, the connections are kept if the memory holds a table of the same layout and size, with the
 * secret that keys their hashes; clients' affinity is copied to the new service table. All other tables are created
 * empty and filled from the API.
 */
import { randomBytes } from 'node:crypto';
import {
  attachConntrack,
  CONNTRACK_LAYOUT,
  type Conntrack,
  conntrackBytes,
  createConntrack,
} from '../../native-free-dataplane/conntrack/record.ts';
import { forgetHops, recoverConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import type { TableBuffers } from '../../native-free-dataplane/dataplane.ts';
import { createFragments, type FragmentTable, fragmentsBytes } from '../../native-free-dataplane/fragments/table.ts';
import {
  attachCaptureMemory,
  type CaptureMemoryOptions,
  captureBytes,
  createCaptureMemory,
} from '../../native-free-dataplane/live-capture/memory.ts';
import {
  attachNodeTable,
  createNodeTable,
  type NodeTable,
  nodeTableBytes,
  routeGeneration,
} from '../../native-free-dataplane/node/config.ts';
import { createPolicies, type PolicyTable, policyBytes } from '../../native-free-dataplane/policies/table.ts';
import { adoptAffinity } from '../../native-free-dataplane/services/affinity.ts';
import {
  attachServices,
  createServices,
  type ServiceTable,
  servicesBytes,
} from '../../native-free-dataplane/services/table.ts';
import { type Counters, countersBytes, createCounters } from '../../native-free-dataplane/shared/counters.ts';
import { layoutOf, TableKind } from '../../native-free-dataplane/shared/layout.ts';
import { openShared, type SharedMemory } from '../linux/shm.ts';
import { unlinkShared } from '../linux/shm-files.ts';
import { memoryNames } from '../shm-names.ts';

/**
 * Hops a node can have: half for pods, half for other nodes, of which Kubernetes supports 5,000. A connection stores a hop in
 * 16 bits, with a sign. Memory that is not used is not allocated.
 */
const MAX_HOPS = 16384;
/** Two for each other node, and one for each pod. */
const ROUTE_SLOTS = 65536;
const DECLARED_SLOTS = 16384;
const HOST_ROUTE_SLOTS = 4096;
/** A ring of captured frames for each reader and worker; its pages are allocated when it is first used. */
const CAPTURE_RING_BYTES: number = 4 * 1024 * 1024;

/** A quarter of all generations. */
const GENERATIONS_APART = 1 << 14;

/** The tables of a node. */
export interface NodeTables {
  readonly conntrack: Conntrack;
  readonly services: ServiceTable;
  readonly node: NodeTable;
  readonly counters: Counters;
  readonly fragments: FragmentTable;
  readonly policies: PolicyTable;
  readonly names: { readonly [table in keyof TableBuffers]: string };
  /** Unmap the memory. It stays for the next agent, unless `unlink` is true. */
  close(unlink?: boolean): void;
}

/** What the tables are laid out for. */
export interface NodeTablesOptions {
  readonly nodeName: string;
  readonly workers: number;
  readonly maxConntrack: number;
  readonly nowMs: number;
  /** Connections are being forwarded by the standby: they are kept as they are. */
  readonly inUse?: boolean;
  readonly log: (line: string) => void;
}

/** Open or create all tables of a node. @throws SystemError */
export function openNodeTables(options: NodeTablesOptions): NodeTables {
  const { control: _, capture, ...names } = memoryNames(options.nodeName);
  const secret = new Int32Array(new Uint8Array(randomBytes(16)).buffer);
  const open: SharedMemory[] = [];
  const { conntrack, recovered } = openConntrack(names.conntrack, options, secret, open);
  if (recovered > 0) options.log(`${recovered} connections of a previous agent recovered`);
  const before = existing(names.services);
  const services = createServices(fresh(names.services, servicesBytes({}), open), { secret });
  if (before) {
    const previous = attachServices(before.buffer);
    if (previous) adoptAffinity(services, previous, options.nowMs);
    before.close();
  }
  const sizes = {
    maxHops: MAX_HOPS,
    routeSlots: ROUTE_SLOTS,
    hostRouteSlots: HOST_ROUTE_SLOTS,
    declaredSlots: DECLARED_SLOTS,
  };
  const generation = firstGeneration(names.routes);
  const node = createNodeTable(fresh(names.routes, nodeTableBytes(sizes), open), { ...sizes, secret, generation });
  // Their hops are numbers of the former table. A standby that forwards by that table enters its generation again.
  forgetHops(conntrack, generation);
  const shape = { workers: options.workers, ports: MAX_HOPS >> 1 };
  const counters = createCounters(fresh(names.counters, countersBytes(shape), open), { ...shape, secret });
  openCapture(capture, { ...shape, ringBytes: CAPTURE_RING_BYTES }, open);
  const fragments = createFragments(fresh(names.fragments, fragmentsBytes(), open), { secret });
  const policies = createPolicies(fresh(names.policies, policyBytes(), open), { secret });
  return {
    conntrack,
    services,
    node,
    counters,
    fragments,
    policies,
    names,
    close(unlink = false) {
      for (const memory of open) memory.close();
      if (unlink) for (const name of [...Object.values(names), capture]) unlinkShared(name);
    },
  };
}

/** Zeroed memory of this name, in place of what there was. It is added to `open`. */
function fresh(name: string, bytes: number, open: SharedMemory[]): ArrayBuffer {
  unlinkShared(name);
  const memory = openShared(name, { bytes, create: true });
  open.push(memory);
  return memory.buffer;
}

/** The memory of this name; undefined if it does not exist. */
function existing(name: string): SharedMemory | undefined {
  try {
    return openShared(name);
  } catch {
    return undefined;
  }
}

/** A generation of routes that the previous agent's table does not reach while this one is used. */
function firstGeneration(name: string): number {
  const before = existing(name);
  const table = before && attachNodeTable(before.buffer);
  const generation = table === undefined ? 0 : (routeGeneration(table) + GENERATIONS_APART) & 0xffff;
  before?.close();
  return generation;
}

/** The memory of a previous agent is kept if it has the same size, so that running captures go on. */
function openCapture(name: string, options: CaptureMemoryOptions, open: SharedMemory[]): void {
  const bytes = captureBytes(options);
  const previous = existing(name);
  const known = previous && attachCaptureMemory(previous.buffer);
  if (previous && known?.workers === options.workers && previous.bytes === bytes) {
    open.push(previous);
    return;
  }
  previous?.close();
  createCaptureMemory(fresh(name, bytes, open), options);
}

function openConntrack(
  name: string,
  options: NodeTablesOptions,
  secret: Int32Array,
  open: SharedMemory[],
): { conntrack: Conntrack; recovered: number } {
  const bytes = conntrackBytes({ addressWords: 1, max: options.maxConntrack });
  const memory = openShared(name, { bytes, create: true });
  const known = attachConntrack(memory.buffer);
  if (known && known.max === options.maxConntrack && known.addressWords === 1) {
    open.push(memory);
    return { conntrack: known, recovered: options.inUse ? 0 : recoverConntrack(known, options.nowMs, options.workers) };
  }
  if (known) {
    const [had, has] = [known.max, options.maxConntrack];
    options.log(
      `${entryCount(known)} connections of the previous agent end: its table was for ${had} connections, this one is for ${has}`,
    );
  }
  const layout = layoutOf(new Int32Array(memory.buffer), TableKind.CONNTRACK);
  if (layout !== undefined && layout !== CONNTRACK_LAYOUT) {
    options.log(
      `the connections of the previous agent end: its table has layout ${layout}, that of this build is ${CONNTRACK_LAYOUT}`,
    );
  }
  memory.close();
  const made = { addressWords: 1, max: options.maxConntrack, workers: options.workers, secret };
  const conntrack = createConntrack(fresh(name, bytes, open), made);
  recoverConntrack(conntrack, options.nowMs, options.workers);
  return { conntrack, recovered: 0 };
}
