/** How the nodes are, for `dataplane upgrade`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ClusterFile, STATE_DIR } from '../../cluster/state.ts';
import type { NodeHealth } from '../../cluster/upgrade/health.ts';
import { type NodeStatus, readStatus, type WorkerStatus } from './status.ts';

const sum = (workers: readonly WorkerStatus[], of: (worker: WorkerStatus) => number): number =>
  workers.reduce((total, worker) => total + of(worker), 0);

/** @throws Error if the controller does not respond */
export async function readHealth(cluster: ClusterFile): Promise<NodeHealth[]> {
  const { controller, nodes } = await readStatus(cluster);
  if (!controller.running) throw new Error('the controller is not running');
  return nodes.map(healthIn);
}

export function healthIn({ name, agentPid, ready, message, workers }: NodeStatus): NodeHealth {
  return {
    name,
    agentPid,
    hasStarted: agentPid !== null && agentPid === forwardingPid(name),
    notReady: ready ? undefined : (message ?? 'no reason is known'),
    framesIn: sum(workers, ({ framesIn }) => framesIn),
    failures: sum(workers, ({ drops }) => Object.values(drops).reduce((total, count) => total + count, 0)),
    restarts: sum(workers, ({ restarts }) => restarts),
  };
}

/** The agent that has forwarded last; undefined if it is not known. */
function forwardingPid(node: string): number | undefined {
  try {
    const file = JSON.parse(readFileSync(join(STATE_DIR, 'nodes', node, 'dataplane.json'), 'utf8')) as { pid: number };
    return file.pid;
  } catch {
    return undefined;
  }
}
