/** Pods x/a to z/c on two nodes that listen on ports 80 and 81, and which of them reach which: as in Kubernetes' netpol suite. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { Kind, KubeObject } from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { connectInNamespace } from '../../../src/linux/connect.ts';
import { type Cluster, eventually, processPod, startCluster } from '../cluster.ts';

const NAMESPACES = ['x', 'y', 'z'];
const NAMES = ['a', 'b', 'c'];
const PODS: readonly string[] = NAMESPACES.flatMap((namespace) => NAMES.map((name) => `${namespace}/${name}`));
/** A client that is reset must not end the server. */
const SERVE =
  'for (const port of [80, 81]) require("net").createServer((s) => s.on("error", () => {}).end("open")).listen(port)';
/**
 * A denied packet is dropped; one that passes is answered within a millisecond or two. On a machine that is overloaded it
 * may take longer, so each attempt waits longer than the one before; a policy that is not in force stays wrong.
 */
const ANSWER_MS = 300;
const ATTEMPTS = 8;

/** Whether a pod such as `x/a` should reach another. */
export type Expected = (from: string, to: string, port: number) => boolean;

export const namespaceOf = (pod: string): string => pod.split('/')[0]!;
export const nameOf = (pod: string): string => pod.split('/')[1]!;

export class PolicyCluster {
  readonly cluster: Cluster;
  /** Address of each pod. */
  readonly ip: ReadonlyMap<string, string>;

  constructor(cluster: Cluster, ip: ReadonlyMap<string, string>) {
    this.cluster = cluster;
    this.ip = ip;
  }

  /** The pairs and ports that answer, as `x/a -> y/b 80`. */
  private async reachable(ports: readonly number[], waitMs: number): Promise<Set<string>> {
    const open = new Set<string>();
    const probes = PODS.flatMap((from) =>
      PODS.flatMap((to) =>
        ports.map((port) =>
          this.answers(from, to, port, waitMs).then((yes) => yes && open.add(`${from} -> ${to} ${port}`)),
        ),
      ),
    );
    await Promise.all(probes);
    return open;
  }

  private async answers(from: string, to: string, port: number, waitMs: number): Promise<boolean> {
    const socket = connectInNamespace(`/run/netns/dp-pod-${from.replace('/', '-')}`, this.ip.get(to)!, port);
    const answered = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(resolve, waitMs, false);
      const done = (yes: boolean) => {
        clearTimeout(timer);
        resolve(yes);
      };
      socket.once('data', () => done(true));
      socket.once('error', () => done(false));
      socket.once('close', () => done(false));
    });
    socket.destroy();
    return answered;
  }

  /** Compares what answers with what is expected of each pair. A pod always reaches itself. */
  async expectReachable(expected: Expected, ports: readonly number[] = [80]): Promise<void> {
    const wanted = PODS.flatMap((from) =>
      PODS.flatMap((to) =>
        ports.filter((port) => from === to || expected(from, to, port)).map((port) => `${from} -> ${to} ${port}`),
      ),
    );
    for (let attempt = 0; ; attempt++) {
      const open = await this.reachable(ports, ANSWER_MS * (1 + attempt));
      const missing = wanted.filter((pair) => !open.has(pair));
      const tooMany = [...open].filter((pair) => !wanted.includes(pair));
      if (missing.length + tooMany.length === 0) return;
      if (attempt === ATTEMPTS) assert.equal({ missing, tooMany }, { missing: [], tooMany: [] });
    }
  }
}

export async function startPolicyCluster(): Promise<PolicyCluster> {
  const pods = PODS.map((pod, i) => {
    const made = processPod(nameOf(pod), i % 2 === 0 ? 'n1' : 'n2', [process.execPath, '-e', SERVE]);
    const [container] = made.spec.containers as object[];
    const ports = [
      { name: 'serve-80-tcp', containerPort: 80 },
      { name: 'serve-81-tcp', containerPort: 81 },
    ];
    return {
      ...made,
      metadata: { name: nameOf(pod), namespace: namespaceOf(pod), labels: { pod: nameOf(pod) } },
      spec: { ...made.spec, containers: [{ ...container, ports }] },
    };
  });
  const namespaces = NAMESPACES.map((name) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels: { ns: name } },
  }));
  const cluster = await startCluster({ args: ['--nodes', '2'], manifests: [...namespaces, ...pods] });
  const all = await cluster.get<{
    items: { metadata: { name: string; namespace: string }; status: { podIP: string } }[];
  }>('pods', '--all-namespaces');
  const ip = new Map(
    all.items.map(({ metadata, status }) => [`${metadata.namespace}/${metadata.name}`, status.podIP] as const),
  );
  const started = new PolicyCluster(cluster, ip);
  await eventually(() => started.expectReachable(() => true, [80, 81]).then(() => true));
  return started;
}

/** Replaces all policies of both kinds by these. */
export async function setPolicies(...wanted: readonly object[]): Promise<void> {
  const client = new ApiClient(API_SOCKET);
  try {
    for (const kind of ['NetworkPolicy', 'ClusterNetworkPolicy'] as const satisfies Kind[]) {
      const { items } = await client.list(kind);
      await Promise.all(
        items.map(({ metadata: { name, namespace } }) => client.delete(kind, name, namespace ? { namespace } : {})),
      );
    }
    await Promise.all(wanted.map((one) => client.create(one as KubeObject)));
  } finally {
    client.close();
  }
  await sleep(30);
}
