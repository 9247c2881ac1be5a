/**
 * The API with the objects of a large cluster: 5,000 Services and 20,000 Pods on 80 nodes. How long a list takes, when a
 * change reaches 20 watchers, how much memory the controller needs, when it serves 50,000 objects after its start, and
 * how long `kubectl get pods` takes. What must not happen whatever the load (lost writes, growing memory) is tested, not
 * measured: test/unit/controllers/load.test.ts and persistence.test.ts.
 */
import { spawnSync } from 'node:child_process';
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { RESOURCES } from '../../src/api/resources.ts';
import { withDefaults } from '../../src/api/schema/defaults.ts';
import { nowText, Store } from '../../src/api/store/store.ts';
import {
  type ConfigMap,
  type KubeObject,
  type NamespaceObject,
  type NodeObject,
  type Pod,
  type Service,
  WellKnown,
} from '../../src/api/types/objects.ts';
import { scheduled, scheduledSince } from '../lib/scheduled.ts';
import { median, quantile } from '../lib/statistics.ts';
import { MeasuredController } from './lib/controller.ts';
import type { Fact } from './lib/results.ts';

const SERVICES = 5000;
const PODS = 20_000;
const NODES = 80;
const OBJECTS = 50_000;
const WATCHERS = 20;
const CHANGES = 300;
const PAUSE_MS = 10;
const ROUNDS = 5;
const KUBECTL = process.env.KUBECTL || 'kubectl';

const namespaced = (name: string) => ({ name, namespace: 'load' });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export async function measure(): Promise<Fact[]> {
  const controller = new MeasuredController();
  try {
    await fill(controller);
    await controller.start();
    await until(async () => (await controller.client.list('EndpointSlice')).items.length >= SERVICES);
    const facts = await lists(controller);
    facts.push(...(await changes(controller)));
    facts.push({
      name: `memory, ${SERVICES} Services and ${PODS} Pods, ${WATCHERS} watchers`,
      value: controller.memory(),
      unit: 'MiB',
      atMost: 400,
    });
    facts.push(...kubectl(controller));
    facts.push(...(await restart(controller)));
    return facts;
  } finally {
    await controller.close();
  }
}

/** Writes the objects as the API has them, without the requests that would make them: those would take minutes. */
async function fill({ directory }: MeasuredController): Promise<void> {
  const store = new Store({ directory: join(directory, 'store') });
  store.insert({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'load' },
    status: { phase: 'Active' },
  } as KubeObject & NamespaceObject);
  for (let i = 0; i < NODES; i++) store.insert(node(i));
  for (let i = 0; i < SERVICES; i++) store.insert(withDefaults(service(i)));
  for (let i = 0; i < PODS; i++) store.insert(withDefaults(pod(i)));
  await store.close();
}

const address = (base: string, i: number) => `${base}.${i >> 8}.${i & 0xff}`;
const ready = (type: string) => ({ type, status: 'True', lastTransitionTime: nowText() });

const node = (i: number) =>
  ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `n${i}` },
    spec: { podCIDR: `10.244.${i + 1}.0/24`, podCIDRs: [`10.244.${i + 1}.0/24`] },
    status: { conditions: [ready('Ready')], addresses: [{ type: 'InternalIP', address: `172.18.0.${i + 11}` }] },
  }) as unknown as NodeObject;

const service = (i: number) =>
  ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { ...namespaced(`s${i}`), labels: { app: `a${i}`, tier: 'front' } },
    spec: {
      clusterIP: address('10.96', i + 512),
      clusterIPs: [address('10.96', i + 512)],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      selector: { app: `a${i}` },
      ports: [{ name: 'http', port: 80, targetPort: 8080 }],
    },
  }) as unknown as Service;

const pod = (i: number) => {
  const podIP = `10.244.${(i % NODES) + 1}.${Math.floor(i / NODES) + 2}`;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...namespaced(`p${i}`),
      labels: { app: `a${i % SERVICES}`, tier: 'front' },
      annotations: { [WellKnown.POD_IP]: podIP },
    },
    spec: {
      nodeName: `n${i % NODES}`,
      containers: [
        { name: 'main', image: 'nginx:1.27', ports: [{ containerPort: 8080 }], env: [{ name: 'A', value: 'b' }] },
      ],
    },
    status: {
      phase: 'Running',
      podIP,
      podIPs: [{ ip: podIP }],
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(ready),
      containerStatuses: [
        { name: 'main', image: 'nginx:1.27', imageID: 'x', ready: true, restartCount: 0, state: { running: {} } },
      ],
    },
  } as unknown as Pod;
};

async function lists(controller: MeasuredController): Promise<Fact[]> {
  const facts: Fact[] = [];
  for (const [name, path, count] of [
    ['Services', '/api/v1/services', SERVICES],
    ['Pods', '/api/v1/pods', PODS],
  ] as const) {
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) times.push((await controller.get(path)).ms);
    facts.push({
      name: `list of ${count} ${name}, per 5,000`,
      value: (median(times) * 5000) / count,
      unit: 'ms',
      atMost: 300,
    });
  }
  return facts;
}

/** From the moment before a change is requested until each of the watchers has parsed its event. */
async function changes({ client, pid }: MeasuredController): Promise<Fact[]> {
  const ends = new AbortController();
  const sent = new Map<string, number>();
  const delays: number[] = [];
  const { metadata } = await client.list('Service', { namespace: 'default' });
  setMaxListeners(WATCHERS, ends.signal);
  const options = { resourceVersion: metadata.resourceVersion, signal: ends.signal };
  const watchers = Array.from({ length: WATCHERS }, () =>
    client.watch('Service', options, ({ object }) => {
      const begin = sent.get(object.metadata.annotations?.change ?? '');
      if (begin !== undefined) delays.push(performance.now() - begin);
    }),
  );
  const before = scheduled(pid);
  for (let i = 0; i < CHANGES; i++) {
    sent.set(String(i), performance.now());
    const change = { metadata: { annotations: { change: String(i) } } };
    await client.patch('Service', `s${i}`, change, { namespace: 'load' });
    await sleep(PAUSE_MS);
  }
  await until(async () => delays.length === CHANGES * WATCHERS);
  const { ran, waited } = scheduledSince(pid, before);
  ends.abort();
  await Promise.allSettled(watchers);
  return [
    { name: `a change at ${WATCHERS} watchers, p50`, value: quantile(delays, 0.5), unit: 'ms' },
    { name: `a change at ${WATCHERS} watchers, p99`, value: quantile(delays, 0.99), unit: 'ms', atMost: 10 },
    { name: 'processor time of the controller for such a change', value: ran / CHANGES, unit: 'ms' },
    { name: 'it waits for a processor meanwhile', value: waited / CHANGES, unit: 'ms' },
  ];
}

function kubectl({ port }: MeasuredController): Fact[] {
  const args = ['--server', `http://127.0.0.1:${port}`, 'get', 'pods'];
  const env = { ...process.env, KUBECONFIG: '/dev/null' };
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const begin = performance.now();
    const { error } = spawnSync(KUBECTL, args, { stdio: 'ignore', env });
    if (error !== undefined) return [];
    times.push(performance.now() - begin);
  }
  return [{ name: 'kubectl get pods', value: median(times.slice(1)), unit: 'ms', atMost: 120 }];
}

/** With ConfigMaps, up to OBJECTS in all. */
async function restart(controller: MeasuredController): Promise<Fact[]> {
  await controller.stop();
  const store = new Store({ directory: join(controller.directory, 'store') });
  const data = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`key-${i}`, 'x'.repeat(60)]));
  const present = RESOURCES.reduce((sum, { key }) => sum + store.list(key).length, 0);
  for (let i = present; i < OBJECTS; i++) {
    store.insert({ apiVersion: 'v1', kind: 'ConfigMap', metadata: namespaced(`c${i}`), data } as ConfigMap &
      KubeObject);
  }
  await store.close();
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    times.push(await controller.start());
    await controller.stop();
  }
  const name = `start with ${OBJECTS} objects, until the API is served`;
  return [{ name, value: median(times), unit: 'ms', atMost: 1000 }];
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !(await check()); await sleep(100)) {
    if (Date.now() > end) throw new Error('the expected state was not reached within two minutes');
  }
}
