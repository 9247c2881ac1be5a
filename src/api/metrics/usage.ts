/** Usage of nodes and pods, asked of the nodes' agents. */
import { request } from 'node:http';
import { type Amounts, Quantity } from '../quantity.ts';
import type { Store } from '../store/store.ts';
import type { NodeMetrics, NodeObject, Pod, PodMetrics } from '../types/objects.ts';
import type { NodeSummary } from './summary.ts';

/** An agent takes a second for the first answer. */
const TIMEOUT_MS = 4000;
/** More than the metrics of a node with a few thousand containers. */
const MAX_BYTES = 8 * 1024 * 1024;

export interface UsageSource {
  /** Metrics of every node, or of one. A node whose agent does not answer has none. */
  nodes(name?: string): Promise<NodeMetrics[]>;
  /** Metrics of every pod, or of one namespace. */
  pods(namespace?: string): Promise<PodMetrics[]>;
}

export class AgentUsage implements UsageSource {
  private readonly store: Store;
  private readonly socketOf: (node: string) => string | undefined;

  constructor(store: Store, socketOf: (node: string) => string | undefined) {
    this.store = store;
    this.socketOf = socketOf;
  }

  async nodes(name?: string): Promise<NodeMetrics[]> {
    const nodes = this.store.list('Node').filter(({ metadata }) => name === undefined || metadata.name === name);
    const measured = await this.summaries(nodes);
    return measured.map(([{ metadata }, { node, windowSeconds }]) => ({
      apiVersion: 'metrics.k8s.io/v1beta1',
      kind: 'NodeMetrics',
      metadata: metadataOf(metadata),
      timestamp: node.cpu.time,
      window: windowOf(windowSeconds),
      usage: usageOf(node),
    }));
  }

  async pods(namespace?: string): Promise<PodMetrics[]> {
    const pods = this.store.list('Pod', namespace).filter(({ status }) => status?.phase === 'Running');
    const names = new Set(pods.map(({ spec }) => spec.nodeName));
    const measured = await this.summaries(this.store.list('Node').filter(({ metadata }) => names.has(metadata.name)));
    const byUid = new Map(
      measured.flatMap(([, { pods: all, windowSeconds }]) =>
        all.map((pod) => [pod.podRef.uid, { pod, windowSeconds }]),
      ),
    );
    return pods.flatMap((pod: Pod) => {
      const found = byUid.get(pod.metadata.uid);
      if (found === undefined) return [];
      return {
        apiVersion: 'metrics.k8s.io/v1beta1',
        kind: 'PodMetrics',
        metadata: metadataOf(pod.metadata),
        timestamp: found.pod.containers[0]?.cpu.time ?? '',
        window: windowOf(found.windowSeconds),
        containers: found.pod.containers.map((container) => ({ name: container.name, usage: usageOf(container) })),
      };
    });
  }

  private async summaries(nodes: readonly NodeObject[]): Promise<[NodeObject, NodeSummary][]> {
    const asked = nodes.map(async (node): Promise<[NodeObject, NodeSummary][]> => {
      const socketPath = this.socketOf(node.metadata.name);
      const summary = socketPath === undefined ? undefined : await ask(socketPath).catch(() => undefined);
      return summary === undefined ? [] : [[node, summary]];
    });
    return (await Promise.all(asked)).flat();
  }
}

/** All containers of a pod together. */
export function totalOf({ containers }: PodMetrics): Amounts {
  const sum = (of: 'cpu' | 'memory') =>
    containers.reduce((total, { usage }) => total.plus(Quantity.from(usage[of])), Quantity.ZERO);
  return { cpu: sum('cpu'), memory: sum('memory') };
}

const windowOf = (seconds: number): string => `${Number(seconds.toFixed(3))}s`;

function usageOf({ cpu, memory }: { cpu: { usageNanoCores: number }; memory: { workingSetBytes: number } }) {
  return {
    cpu: `${cpu.usageNanoCores}n`.replace(/^0n$/, '0'),
    memory: String(Quantity.ofBytes(memory.workingSetBytes - (memory.workingSetBytes % 1024))),
  };
}

function metadataOf({ name, namespace, labels }: NodeObject['metadata']): NodeMetrics['metadata'] {
  const metadata = { name, ...(namespace !== undefined && { namespace }), ...(labels && { labels }) };
  return {
    ...metadata,
    creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
  } as NodeMetrics['metadata'];
}

function ask(socketPath: string): Promise<NodeSummary> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: '/stats/summary', agent: false, timeout: TIMEOUT_MS }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_BYTES) asked.destroy(new Error('the answer is too long'));
      });
      answer.on('error', reject);
      answer.on('end', () => {
        try {
          if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
          resolve(JSON.parse(text) as NodeSummary);
        } catch (error) {
          reject(error as Error);
        }
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer')));
    asked.on('error', reject);
    asked.end();
  });
}
