/**
 * How long a change of policies takes until a packet is judged by it, on every node: in a cluster of 10,000 pods and 1,000
 * policies, with the real API server, and two nodes that have the agent's part in policies and a worker's pipeline, each in
 * a process of its own (policies-in-force-node.ts). The worker of each asks for the verdict of an established connection
 * all the time.
 *
 * How long the controller and the agent ran for a change, and waited for a processor, is reported beside it.
 *
 *   node dist/bench/net/policies-in-force.js [--rounds 100]
 *   chrt -r 1 node …   before all other load of the machine
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { withDefaults } from '../../src/api/schema/defaults.ts';
import { nowText, Store } from '../../src/api/store/store.ts';
import { type Kind, type KubeObject, WellKnown } from '../../src/api/types/objects.ts';
import { type Scheduled, scheduled, scheduledSince } from '../lib/scheduled.ts';
import { quantile } from '../lib/statistics.ts';
import { MeasuredController } from '../micro/lib/controller.ts';
import { NAMESPACES, namespaceNamed, podAddress, podLabels, policyObject } from '../micro/lib/policies.ts';
import { benchOptions } from './lib/options.ts';
import { CLIENT, nowMs, PORT, PROBED, SERVER, type Verdict } from './policies-in-force-node.ts';

const HELP = `usage: node dist/bench/net/policies-in-force.js [--rounds 100]
The exit status is 1 if more than one of a hundred changes of a kind is in force later than 20 ms after the API's answer.
`;
const MOST_MS = 20;
const PODS = 10_000;
const POLICIES = 1000;
const NODES = 50;
const AGENTS = 2;
const NODE_PROGRAM = fileURLToPath(new URL('policies-in-force-node.js', import.meta.url));
const GIVEN_UP_MS = 10_000;

const { rounds } = benchOptions(HELP, { rounds: 100, seconds: 0 });

/** Every second change of these allows the probed connection, the others deny it. */
interface Changed {
  readonly name: string;
  readonly kind: Kind;
  readonly object: string;
  readonly namespace?: string;
  readonly patch: (allow: boolean) => object;
}

const ruleWith = (port: number) => [
  {
    from: [{ namespaceSelector: { matchLabels: { team: 'a' } }, podSelector: { matchLabels: { role: 'dev' } } }],
    ports: [{ protocol: 'UDP', port }],
  },
];
const CHANGES: readonly Changed[] = [
  {
    name: 'a policy',
    kind: 'NetworkPolicy',
    object: 'probed',
    namespace: PROBED,
    patch: (allow) => ({ spec: { ingress: ruleWith(allow ? PORT : PORT + 1) } }),
  },
  {
    name: "a pod's label",
    kind: 'Pod',
    object: 'client',
    namespace: PROBED,
    patch: (allow) => ({ metadata: { labels: { role: allow ? 'dev' : 'ops' } } }),
  },
  {
    name: "a namespace's label",
    kind: 'Namespace',
    object: PROBED,
    patch: (allow) => ({ metadata: { labels: { team: allow ? 'a' : 'b' } } }),
  },
];

/** Writes the objects as the API has them, without the requests that would make them: those would take minutes. */
async function fill(directory: string): Promise<void> {
  const store = new Store({ directory: join(directory, 'store') });
  const insert = (object: object) => store.insert(withDefaults(object as KubeObject));
  for (const [name, labels] of [
    ...Array.from({ length: NAMESPACES }, (_, i) => [namespaceNamed(i), { name: namespaceNamed(i) }] as const),
    [PROBED, { team: 'a' }] as const,
  ]) {
    insert({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels }, status: { phase: 'Active' } });
  }
  for (let i = 0; i < NODES; i++) insert(node(i));
  for (let i = 0; i < PODS; i++) insert(pod(`p${i}`, namespaceNamed(i), podLabels(i), podAddress(i + 1024)));
  insert(pod('client', PROBED, { role: 'dev' }, CLIENT));
  insert(pod('server', PROBED, { role: 'server' }, SERVER));
  for (let i = 0; i < POLICIES; i++) insert(policyObject(i));
  insert({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'probed', namespace: PROBED },
    spec: { podSelector: { matchLabels: { role: 'server' } }, ingress: ruleWith(PORT) },
  });
  await store.close();
}

const ready = (type: string) => ({ type, status: 'True', lastTransitionTime: nowText() });
const node = (i: number) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `n${i}` },
  spec: { podCIDR: `10.${100 + i}.0.0/16`, podCIDRs: [`10.${100 + i}.0.0/16`] },
  status: { conditions: [ready('Ready')], addresses: [{ type: 'InternalIP', address: `172.18.0.${i + 11}` }] },
});

let pods = 0;
const pod = (name: string, namespace: string, labels: object, podIP: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, labels, annotations: { [WellKnown.POD_IP]: podIP } },
  spec: {
    nodeName: `n${pods++ % NODES}`,
    containers: [{ name: 'main', image: 'nginx:1.27', ports: [{ name: 'http', containerPort: 8080 }] }],
  },
  status: { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions: [ready('Ready'), ready('PodScheduled')] },
});

/** A node's process, and the last verdict of its worker. */
class MeasuredNode {
  last: Verdict | undefined;
  private readonly child: ChildProcess;
  private wanted: { allowed: boolean; done: (at: number) => void } | undefined;

  constructor(socketPath: string) {
    this.child = fork(NODE_PROGRAM, [socketPath], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.child.on('message', (message) => {
      this.last = message as Verdict;
      if (this.wanted?.allowed === this.last.allowed) this.wanted.done(this.last.at);
    });
  }

  /** Resolves to the time from which on the worker has had this verdict. */
  when(allowed: boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ${allowed ? 'allowed' : 'denied'} in time`)), GIVEN_UP_MS);
      this.wanted = {
        allowed,
        done: (at) => {
          clearTimeout(timer);
          this.wanted = undefined;
          resolve(at);
        },
      };
      if (this.last?.allowed === allowed) this.wanted.done(this.last.at);
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  close(): void {
    this.child.kill('SIGKILL');
  }
}

/** One change: milliseconds. */
interface Measured {
  readonly sent: number;
  readonly answered: number;
  /** The controller, and the agent that was last. */
  readonly used: readonly [controller: Scheduled, agent: Scheduled];
}

const controller = new MeasuredController();
const nodes: MeasuredNode[] = [];
try {
  await fill(controller.directory);
  await controller.start();
  for (let i = 0; i < AGENTS; i++) nodes.push(new MeasuredNode(controller.socketPath));
  const client = controller.client;
  while (!nodes.every(({ last }) => last?.allowed)) await sleep(50);
  // What happens once: V8 compiles, validators are made for each kind, the first image of each half is written.
  for (const one of CHANGES) for (let i = 0; i < 20; i++) await change(one, i % 2 === 1);
  for (const one of CHANGES) {
    const measured: Measured[] = [];
    for (let i = 0; i < rounds; i++) {
      await sleep(20 + Math.random() * 40);
      measured.push(await change(one, i % 2 === 1));
    }
    if (rounds % 2 === 1) await change(one, true);
    report(one.name, measured);
  }

  /** Until the slower of the nodes judges by the change. */
  async function change({ kind, object, namespace, patch }: Changed, allow: boolean): Promise<Measured> {
    const pids = [controller.pid, ...nodes.map(({ pid }) => pid)];
    const before = pids.map(scheduled);
    const sentAt = nowMs();
    const inForce = Promise.all(nodes.map((one) => one.when(allow)));
    await client.patch(kind, object, patch(allow), namespace ? { namespace } : {});
    const answeredAt = nowMs();
    const times = await inForce;
    const at = Math.max(...times);
    const used = (i: number) => scheduledSince(pids[i]!, before[i]!);
    return { sent: at - sentAt, answered: at - answeredAt, used: [used(0), used(1 + times.indexOf(at))] };
  }
} finally {
  for (const one of nodes) one.close();
  await controller.close();
}

function report(name: string, measured: readonly Measured[]): void {
  const of = (value: (one: Measured) => number) => measured.map(value);
  const line = (label: string, times: number[]) => {
    const figures = [0, 0.1, 0.5, 0.9, 0.99].map((share) => quantile(times, share).toFixed(1).padStart(6));
    console.log(`  ${label.padEnd(40)} ${figures.join(' ')}`);
  };
  console.log(`${name}, of ${PODS} pods and ${POLICIES} policies, in force on ${AGENTS} nodes (ms)`);
  console.log(`  ${''.padEnd(40)}    min    p10    p50    p90    p99`);
  line(
    'since it was sent',
    of(({ sent }) => sent),
  );
  line(
    'since the answer',
    of(({ answered }) => answered),
  );
  for (const [i, name] of ['the controller', 'the agent'].entries()) {
    line(
      `processor time of ${name}`,
      of(({ used }) => used[i]!.ran),
    );
    line(
      `${name} waits for a processor`,
      of(({ used }) => used[i]!.waited),
    );
  }
  if (
    quantile(
      of(({ answered }) => answered),
      0.99,
    ) > MOST_MS
  )
    process.exitCode = 1;
}
