/** Pods x/a to z/c on two nodes that listen on ports 80 and 81, and which of them reach which: as in Kubernetes' netpol suite. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { Kind, KubeObject } from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { connectInNamespace } from '../../../src/linux/connect.ts';
import { type Cluster, eventually, processPod, startCluster } from '../cluster.ts';
import { SctpEnd } from '../sctp-in-namespace.ts';
import { udpSocketIn } from '../udp-in-namespace.ts';
import { type Expected, NAMESPACES, nameOf, namespaceOf, PODS, type Probe } from './upstream-cases.ts';

export const HTTP_PORT = 8080;
const SERVED_PORTS: readonly number[] = [80, 81];
const FIRST_SCTP_PORT = 20_000;
/** Over TCP and UDP, and over HTTP. A client that is reset must not end the server. */
const SERVE = `require("http").createServer((_, response) => response.end("open")).listen(${HTTP_PORT});
for (const port of [80, 81]) {
  require("net").createServer((s) => s.on("error", () => {}).end("open")).listen(port);
  const udp = require("dgram").createSocket("udp4");
  udp.on("message", (_, { port, address }) => udp.send("open", port, address)).on("error", () => {}).bind(port);
}`;
/**
 * A denied packet is dropped; one that passes is answered within a millisecond or two. On a machine that is overloaded it
 * may take longer, so each attempt waits longer than the one before; a policy that is not in force stays wrong.
 */
const ANSWER_MS = 150;
const ATTEMPTS = 8;

export class PolicyCluster {
  readonly cluster: Cluster;
  /** Address of each pod. */
  readonly ip: ReadonlyMap<string, string>;
  private labels: Readonly<Record<string, Record<string, string>>> = {};
  /** An end of SCTP associations in each pod, from when one is first needed. */
  private sctpEnds: ReadonlyMap<string, SctpEnd> | undefined;
  private sctpPort = FIRST_SCTP_PORT;

  constructor(cluster: Cluster, ip: ReadonlyMap<string, string>) {
    this.cluster = cluster;
    this.ip = ip;
  }

  /** The pairs and ports that answer, as `x/a -> y/b TCP 80`. */
  private async reachable(probes: readonly Probe[], waitMs: number): Promise<Set<string>> {
    const open = new Set<string>();
    const tcp = async (from: string, to: string, port: number) => {
      if (await this.answers(from, to, port, waitMs)) open.add(pairText(from, to, 'TCP', port));
    };
    const asked = probes.flatMap(({ protocol, ports }) =>
      PODS.flatMap((from) => {
        if (protocol === 'UDP') return [this.addAnswered(open, from, ports, waitMs)];
        if (protocol === 'SCTP') return [this.addAssociated(open, from, ports, waitMs)];
        return PODS.flatMap((to) => ports.map((port) => tcp(from, to, port)));
      }),
    );
    await Promise.all(asked);
    return open;
  }

  private async answers(from: string, to: string, port: number, waitMs: number): Promise<boolean> {
    const socket = connectInNamespace(netnsOf(from), this.ip.get(to)!, port);
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

  /** Asks all pods over UDP, from a socket of one, and enters those that answer. */
  private async addAnswered(open: Set<string>, from: string, ports: readonly number[], waitMs: number): Promise<void> {
    const socket = await udpSocketIn(netnsOf(from));
    socket.on('message', (_, { address, port }) => {
      const to = PODS.find((pod) => this.ip.get(pod) === address);
      if (to !== undefined) open.add(pairText(from, to, 'UDP', port));
    });
    for (const to of PODS) for (const port of ports) socket.send('?', port, this.ip.get(to)!);
    await sleep(waitMs);
    socket.close();
  }

  /** Opens SCTP associations with all pods, each from a port of its own, and enters those that are established. */
  private async addAssociated(
    open: Set<string>,
    from: string,
    ports: readonly number[],
    waitMs: number,
  ): Promise<void> {
    this.sctpEnds ??= new Map(PODS.map((pod) => [pod, new SctpEnd(netnsOf(pod), SERVED_PORTS)]));
    const end = this.sctpEnds.get(from)!;
    end.onOpen = (address, port) => {
      const to = PODS.find((pod) => this.ip.get(pod) === address);
      if (to !== undefined) open.add(pairText(from, to, 'SCTP', port));
    };
    for (const to of PODS) {
      // A pod does not reach itself through its raw socket; that it may is tried over TCP and UDP.
      if (to === from) for (const port of ports) open.add(pairText(from, to, 'SCTP', port));
      else for (const port of ports) end.open(this.ip.get(to)!, port, this.sctpPort++);
    }
    await sleep(waitMs);
    end.giveUp();
  }

  async down(): Promise<void> {
    for (const end of this.sctpEnds?.values() ?? []) end.close();
    await this.cluster.down();
  }

  /** Compares what answers with what is expected of each pair. A pod always reaches itself. */
  async expectReachable(expected: Expected, ports: readonly number[] = [80]): Promise<void> {
    await this.expectProbes([{ protocol: 'TCP', ports, expected }]);
  }

  async expectProbes(probes: readonly Probe[]): Promise<void> {
    const wanted = probes.flatMap(({ protocol, ports, expected }) =>
      PODS.flatMap((from) =>
        PODS.flatMap((to) =>
          ports
            .filter((port) => from === to || expected(from, to, port))
            .map((port) => pairText(from, to, protocol, port)),
        ),
      ),
    );
    for (let attempt = 0; ; attempt++) {
      const open = await this.reachable(probes, ANSWER_MS * (1 + attempt));
      const missing = wanted.filter((pair) => !open.has(pair));
      const tooMany = [...open].filter((pair) => !wanted.includes(pair));
      if (missing.length + tooMany.length === 0) return;
      if (attempt === ATTEMPTS) assert.equal({ missing, tooMany }, { missing: [], tooMany: [] });
    }
  }

  /** Gives pods such as `x/a` and namespaces such as `y` these labels besides those that they always have. */
  async setLabels(labels: Readonly<Record<string, Record<string, string>>>): Promise<void> {
    const client = new ApiClient(API_SOCKET);
    const patch = (key: string, set: Record<string, string | null>) => {
      const change = { metadata: { labels: set } };
      return key.includes('/')
        ? client.patch('Pod', nameOf(key), change, { namespace: namespaceOf(key) })
        : client.patch('Namespace', key, change, {});
    };
    try {
      for (const [key, before] of Object.entries(this.labels)) {
        await patch(key, Object.fromEntries(Object.keys(before).map((name) => [name, null])));
      }
      for (const [key, set] of Object.entries(labels)) await patch(key, set);
    } finally {
      client.close();
    }
    this.labels = labels;
  }
}

export const netnsOf = (pod: string): string => `/run/netns/dp-pod-${pod.replace('/', '-')}`;
const pairText = (from: string, to: string, protocol: string, port: number): string =>
  `${from} -> ${to} ${protocol} ${port}`;

export async function startPolicyCluster(): Promise<PolicyCluster> {
  const pods = PODS.map((pod, i) => {
    const made = processPod(nameOf(pod), i % 2 === 0 ? 'n1' : 'n2', [process.execPath, '-e', SERVE]);
    const [container] = made.spec.containers as object[];
    const ports = ['TCP', 'UDP', 'SCTP'].flatMap((protocol) =>
      SERVED_PORTS.map((port) => ({ name: `serve-${port}-${protocol.toLowerCase()}`, protocol, containerPort: port })),
    );
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
  const probes = (['TCP', 'UDP'] as const).map((protocol) => ({ protocol, ports: SERVED_PORTS, expected: () => true }));
  await eventually(() => started.expectProbes(probes).then(() => true));
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
