/** The data of `dataplane status`, from the API, the agents' files and the shared tables. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attachCounters, portTotals, workerTotals } from '../../../native-free-dataplane/shared/counters.ts';
import { ApiClient } from '../../api/client/client.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { type NodeObject, type Pod, WellKnown } from '../../api/types/objects.ts';
import { whyNotReady } from '../../cluster/readiness.ts';
import { API_SOCKET, type ClusterFile, STATE_DIR } from '../../cluster/state.ts';
import { isAlive, type ProcessMark } from '../../linux/processes.ts';
import { openShared } from '../../linux/shm.ts';
import { type Failure, failuresOf } from '../../observe/failures.ts';
import { memoryName } from '../../shm-names.ts';
import { attachControl, ControlWord, controlAt, THREAD_STATE_NAMES } from '../../worker/control.ts';
import { type RefusedToPod, readRefused } from './budgets.ts';
import { countFlows, nodesWithFlows } from './conntrack.ts';
import { readFailures } from './failures.ts';

export interface WorkerStatus {
  id: number;
  threadState: string;
  restarts: number;
  framesIn: number;
  framesOut: number;
  drops: Record<string, number>;
}

export interface NodeStatus {
  name: string;
  ip: string;
  podCIDR: string;
  ready: boolean;
  /** Why it is not ready. */
  message?: string;
  agentPid: number | null;
  /** Why requests and limits of its pods are not enforced; absent if they are, or if the node is not known. */
  resourcesNotEnforced?: string;
  /** That its file system for pods is nearly full; absent if it is not. */
  diskPressure?: string;
  pods: number;
  workers: WorkerStatus[];
  conntrack: { entries: number; max: number };
  overlay: { mode: string; tunnelOffload: boolean; mtu: number };
  /** What pods were refused because they had used up a budget. */
  refused: RefusedToPod[];
  /** Frames and bytes of each device, dp0 first. */
  devices: { port: number; framesIn: number; bytesIn: number; framesOut: number; bytesOut: number }[];
}

export interface ControllerStatus {
  running: boolean;
  pid: number | null;
}

/** Written by the agent when it forwards (src/agent/run-file.ts). */
interface AgentFile {
  startedAt: string;
  workers: number;
  overlay: string;
  tunnelOffload: boolean;
  mtu: number;
}

export async function readStatus(cluster: ClusterFile): Promise<{ controller: ControllerStatus; nodes: NodeStatus[] }> {
  const running = isAlive(cluster.controller);
  const client = new ApiClient(API_SOCKET, { timeoutMs: 3000 });
  try {
    const [objects, pods] = running
      ? await Promise.all([client.list('Node').then((l) => l.items), client.list('Pod').then((l) => l.items)])
      : [[], []];
    const names = new Set([...cluster.nodes.map(({ name }) => name), ...objects.map(({ metadata }) => metadata.name)]);
    const nodes = [...names].map((name) =>
      nodeStatus(
        name,
        cluster,
        objects.find(({ metadata }) => metadata.name === name),
        pods.filter(({ spec }) => spec.nodeName === name),
      ),
    );
    return { controller: { running, pid: running ? cluster.controller!.pid : null }, nodes };
  } finally {
    client.close();
  }
}

function nodeStatus(name: string, cluster: ClusterFile, object: NodeObject | undefined, pods: Pod[]): NodeStatus {
  const planned = cluster.nodes.find((node) => node.name === name);
  const mark = readJson<ProcessMark>(join(STATE_DIR, 'nodes', name, 'agent.json'));
  const agentPid = isAlive(mark) ? mark!.pid : null;
  const agent = readJson<AgentFile>(join(STATE_DIR, 'nodes', name, 'dataplane.json'));
  // Without a controller the API does not respond; agents keep forwarding.
  const why = object === undefined ? undefined : whyNotReady(object);
  const message = agentPid === null && planned !== undefined ? 'its agent is not running' : why;
  const { options } = cluster;
  return {
    name,
    ip: internalIpOf(object) ?? planned?.ip ?? '',
    podCIDR: object?.spec?.podCIDR ?? planned?.podCIDR ?? '',
    ready: message === undefined,
    ...(message !== undefined && { message }),
    agentPid,
    ...notEnforced(object),
    ...underPressure(object),
    pods: pods.length,
    refused: readRefused(name, pods),
    ...readCounters(name, agent?.workers ?? 0),
    conntrack: nodesWithFlows().includes(name) ? countFlows(name) : { entries: 0, max: options.maxConntrack },
    overlay: {
      mode: agent?.overlay ?? options.overlay,
      tunnelOffload: agent?.tunnelOffload ?? false,
      mtu: agent?.mtu ?? options.mtu,
    },
  };
}

const conditionOf = (node: NodeObject | undefined, wanted: string) =>
  node?.status?.conditions?.find(({ type }) => type === wanted);

function notEnforced(node: NodeObject | undefined): Pick<NodeStatus, 'resourcesNotEnforced'> {
  const condition = conditionOf(node, WellKnown.RESOURCES_ENFORCED);
  return condition?.status === 'False' ? { resourcesNotEnforced: condition.message ?? '' } : {};
}

function underPressure(node: NodeObject | undefined): Pick<NodeStatus, 'diskPressure'> {
  const condition = conditionOf(node, WellKnown.DISK_PRESSURE);
  return condition?.status === 'True' ? { diskPressure: condition.message ?? '' } : {};
}

/** What shared memory has about a node. */
export type NodeCounters = Pick<NodeStatus, 'workers' | 'devices' | 'conntrack'>;

export function readNodeCounters(name: string): NodeCounters {
  return { ...readCounters(name, Number.POSITIVE_INFINITY), conntrack: countFlows(name) };
}

export interface NodeDrops {
  readonly node: string;
  /** When its agent was started, whose counters these are; undefined if that is not known. */
  readonly since: string | undefined;
  readonly failures: readonly Failure[];
}

/** What did not arrive, node by node, the most frequent first. Needs shared memory only. */
export function readDrops(): NodeDrops[] {
  return nodesWithFlows().map((node) => ({
    node,
    since: readJson<AgentFile>(join(STATE_DIR, 'nodes', node, 'dataplane.json'))?.startedAt,
    failures: readFailures(node).sort((a, b) => b.count - a.count),
  }));
}

function readCounters(node: string, workers: number): Pick<NodeStatus, 'workers' | 'devices'> {
  const table = open(memoryName(node, 'counters'));
  const counters = table && attachCounters(table.buffer);
  const control = open(memoryName(node, 'control'));
  const words = control && attachControl(control.buffer);
  try {
    if (!counters) return { workers: [], devices: [] };
    const devices: NodeStatus['devices'] = [];
    for (let port = 0; port < counters.ports; port++) {
      const totals = portTotals(counters, port);
      if (port === 0 || totals.framesIn + totals.framesOut > 0) devices.push({ port, ...totals });
    }
    const status = Array.from({ length: Math.min(workers, counters.workers) }, (_, id): WorkerStatus => {
      const { framesIn, framesOut } = workerTotals(counters, id);
      const state = words?.[controlAt(id, ControlWord.STATE)] ?? 0;
      return {
        id,
        threadState: THREAD_STATE_NAMES[state] ?? 'absent',
        restarts: words?.[controlAt(id, ControlWord.RESTARTS)] ?? 0,
        framesIn,
        framesOut,
        drops: Object.fromEntries(failuresOf([counters.blocks[id]!]).map(({ row, count }) => [row.name, count])),
      };
    });
    return { workers: status, devices };
  } finally {
    table?.close();
    control?.close();
  }
}

function open(name: string) {
  try {
    return openShared(name);
  } catch {
    return undefined; // the file does not exist yet, or no longer
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
