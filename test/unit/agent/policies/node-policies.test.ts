/**
 * The policies that a node has in force are those of the API, whatever changes and in whatever order
 * (src/agent/policies/node-policies.ts): after every change the table's verdicts are compared with an evaluator's.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { routeGeneration } from '../../../../native-free-dataplane/node/config.ts';
import { judgeByTable } from '../../../../native-free-dataplane/policies/judge.ts';
import { activeImage } from '../../../../native-free-dataplane/policies/table.ts';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import type { LiveConfig } from '../../../../src/agent/config.ts';
import { NodePolicies } from '../../../../src/agent/policies/node-policies.ts';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import type { Kind, KubeObject, ObjectByKind, Pod } from '../../../../src/api/types/objects.ts';
import { policyAddressOf } from '../../../../src/compile/policies/policy-objects.ts';
import { denial, type Situation } from '../../../lib/policies/evaluator.ts';
import { seededRandom } from '../../../lib/seeded-random.ts';
import { TestNode } from '../../../lib/test-node.ts';
import { eventually, sleep } from '../../controllers/test-cluster.ts';

const NAMESPACES = ['x', 'y'];
const APPS = ['a', 'b', 'c'];

type Event = (event: { type: string; object: KubeObject }) => void;

/** Lists and watches as NodePolicies uses them, over objects in memory. */
class Objects {
  private readonly byKind = new Map<Kind, Map<string, KubeObject>>();
  private readonly watchers = new Map<Kind, Event[]>();
  private version = 1;
  readonly client: ApiClient = {
    list: (kind: Kind) => Promise.resolve({ items: this.all(kind), metadata: { resourceVersion: `${this.version}` } }),
    watch: (kind: Kind, { signal, onOpen }: { signal: AbortSignal; onOpen: () => void }, event: Event) => {
      const watchers = this.watchers.get(kind) ?? [];
      this.watchers.set(kind, [...watchers, event]);
      onOpen();
      return new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          this.watchers.set(
            kind,
            this.watchers.get(kind)!.filter((one) => one !== event),
          );
          resolve();
        });
      });
    },
  } as unknown as ApiClient;

  all<K extends Kind>(kind: K): ObjectByKind[K][] {
    return [...(this.byKind.get(kind)?.values() ?? [])] as ObjectByKind[K][];
  }

  /** Create an object, or replace it: another version is another object. */
  put(kind: Kind, object: object): void {
    const { metadata, ...rest } = object as KubeObject;
    const key = `${metadata.namespace ?? ''}/${metadata.name}`;
    const objects = this.byKind.get(kind) ?? new Map<string, KubeObject>();
    const known = objects.get(key);
    const uid = known?.metadata.uid ?? `u${this.version}`;
    const made = { ...rest, kind, metadata: { ...metadata, uid, resourceVersion: `${++this.version}` } } as KubeObject;
    this.byKind.set(kind, objects.set(key, made));
    this.send(kind, known === undefined ? 'ADDED' : 'MODIFIED', made);
  }

  delete(kind: Kind, key: string): void {
    const object = this.byKind.get(kind)!.get(key)!;
    this.byKind.get(kind)!.delete(key);
    const metadata = { ...object.metadata, resourceVersion: `${++this.version}` };
    this.send(kind, 'DELETED', { ...object, metadata });
  }

  private send(kind: Kind, type: string, object: KubeObject): void {
    for (const event of this.watchers.get(kind) ?? []) event({ type, object });
  }
}

interface Started {
  readonly node: TestNode;
  readonly policies: NodePolicies;
}

async function start(objects: Objects): Promise<Started> {
  for (const name of NAMESPACES) objects.put('Namespace', { metadata: { name } });
  const node = new TestNode({ policies: {} });
  const config = { current: { nameServer: undefined }, node: {} } as unknown as LiveConfig;
  const tables = { policies: node.policies, node: node.node };
  const { client } = objects;
  const policies = new NodePolicies({ client, tables, config, recordEvent: () => {}, log: () => {} });
  policies.start();
  await policies.whenSynced();
  return { node, policies };
}

/** A pod that runs somewhere; without an address one that the API does not know the address of. */
const podObject = (key: string, app: string, ip?: string): Pod => {
  const [namespace, name] = key.split('/');
  const containers = [{ name: 'c', ports: [{ name: 'http', containerPort: 8080 }] }];
  return {
    metadata: { namespace, name, labels: { app } },
    spec: { containers },
    status: { phase: 'Running', podIP: ip },
  } as unknown as Pod;
};

const policy = (namespace: string, name: string, spec: object) =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec,
  }) as unknown as KubeObject;

/** What the API has now, as the evaluator takes it. @param more pods whose addresses it does not know yet */
function situationOf(objects: Objects, more: Situation['pods'] = []): Situation {
  const known = objects.all('Pod').flatMap((one): Situation['pods'] => {
    const ip = policyAddressOf(one);
    if (ip === undefined) return [];
    const { namespace = 'default', labels = {} } = one.metadata;
    return [{ namespace, labels, ip, ports: [{ name: 'http', protocol: 'TCP', port: 8080 }] }];
  });
  const namespaces = objects.all('Namespace').map(({ metadata }) => [metadata.name, metadata.labels ?? {}] as const);
  return {
    pods: [...known, ...more],
    namespaces: Object.fromEntries(namespaces),
    policies: objects.all('NetworkPolicy') as Situation['policies'],
    clusterPolicies: [],
    nodes: [],
  };
}

/** Pairs of addresses about which the table and the evaluator differ. @param more besides those of the pods */
function differences({ node }: Started, situation: Situation, more: Iterable<string> = []): string[] {
  const wrong: string[] = [];
  const all = [...new Set([...situation.pods.map(({ ip }) => ip), ...more])];
  for (const from of all) {
    for (const to of all) {
      for (const port of [80, 8080]) {
        const connection = { source: addressWords(from), target: addressWords(to), protocol: 6, port };
        const { verdict } = judgeByTable(node.policies, connection);
        const expected = denial(situation, { from, to, protocol: 'TCP', port });
        if (verdict !== (expected === undefined ? 'allowed' : `policy-${expected}`)) {
          wrong.push(`${from} -> ${to}:${port}: ${verdict}, expected ${expected}`);
        }
      }
    }
  }
  return wrong;
}

async function agree(started: Started, objects: Objects, more: Iterable<string> = []): Promise<Situation> {
  const situation = situationOf(objects);
  await eventually(() => {
    const wrong = differences(started, situation, more);
    if (wrong.length > 0) throw new Error(wrong.slice(0, 5).join('\n'));
    return true;
  });
  return situation;
}

test('random changes of pods, labels, namespaces and policies, some of them at once', async () => {
  const random = seededRandom(11).below;
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const objects = new Objects();
  const started = await start(objects);
  const pods = new Map<string, string>();
  const policies = new Set<string>();
  /** Addresses that pods have had. */
  const used = new Set<string>();
  const selector = () => (random(3) === 0 ? {} : { matchLabels: { app: pick(APPS) } });
  const spec = () => {
    const peer = random(2)
      ? { podSelector: selector() }
      : { namespaceSelector: { matchLabels: { team: pick(APPS) } }, ...(random(2) && { podSelector: selector() }) };
    const ports = random(2) ? [{ port: pick<number | string>([80, 'http']) }] : [];
    const rule = random(5) === 0 ? [] : [{ from: [peer], ports }];
    return { podSelector: selector(), policyTypes: ['Ingress'], ingress: rule };
  };
  let made = 2;
  const add = (ip: string) => {
    const key = `${pick(NAMESPACES)}/p${made++}`;
    pods.set(key, ip);
    used.add(ip);
    objects.put('Pod', podObject(key, pick(APPS), ip));
  };
  const change = () => {
    const key = pick([...pods.keys(), '']);
    const ip = pods.get(key);
    switch (random(8)) {
      case 0:
      case 1:
        return add(`10.244.1.${made}`);
      case 2:
        if (ip !== undefined) objects.put('Pod', podObject(key, pick(APPS), ip));
        return;
      case 3: {
        if (ip === undefined) return;
        // Half of the time another pod has its address at once, before it is gone.
        if (random(2) === 0) add(ip);
        pods.delete(key);
        return objects.delete('Pod', key);
      }
      case 4:
        return objects.put('Namespace', { metadata: { name: pick(NAMESPACES), labels: { team: pick(APPS) } } });
      case 5: {
        const one = pick([...policies, '']);
        if (policies.delete(one)) objects.delete('NetworkPolicy', one);
        return;
      }
      default: {
        const one = `${pick(NAMESPACES)}/n${random(5)}`;
        const [namespace = '', name = ''] = one.split('/');
        policies.add(one);
        return objects.put('NetworkPolicy', policy(namespace, name, spec()));
      }
    }
  };
  const seen = { allowed: 0, denied: 0 };
  for (let turn = 0; turn < 60; turn++) {
    for (let i = random(4); i >= 0; i--) change();
    const situation = await agree(started, objects, used);
    for (const from of situation.pods) {
      for (const to of situation.pods) {
        seen[denial(situation, { from: from.ip, to: to.ip, protocol: 'TCP', port: 80 }) ? 'denied' : 'allowed']++;
      }
    }
  }
  assert.ok(seen.allowed > 500 && seen.denied > 500, JSON.stringify(seen));
  started.policies.close();
});

test('a pod of the node is isolated before the API has its address, and follows its labels afterwards', async () => {
  const objects = new Objects();
  const started = await start(objects);
  objects.put(
    'NetworkPolicy',
    policy('x', 'deny', { podSelector: { matchLabels: { app: 'a' } }, policyTypes: ['Ingress'] }),
  );
  objects.put('Pod', podObject('x/other', 'b', '10.244.1.2'));
  await agree(started, objects);
  const own = { namespace: 'x', labels: { app: 'a' }, ip: '10.244.1.9', ports: [] };
  started.policies.attach('x', 'fresh', podObject('x/fresh', 'a'), own.ip);
  assert.equal(differences(started, situationOf(objects, [own])), [], 'at once, without waiting for the API');
  objects.put('Pod', podObject('x/fresh', 'b'));
  await eventually(() => differences(started, situationOf(objects, [{ ...own, labels: { app: 'b' } }])).length === 0);
  objects.put('Pod', podObject('x/fresh', 'a'));
  await eventually(() => differences(started, situationOf(objects, [own])).length === 0);
  started.policies.detach('x', 'fresh');
  await eventually(() => differences(started, situationOf(objects), [own.ip]).length === 0);
  started.policies.close();
});

test('the last policy that goes opens everything, and the first that comes again isolates', async () => {
  const objects = new Objects();
  const started = await start(objects);
  objects.put('Pod', podObject('x/one', 'a', '10.244.1.2'));
  objects.put('Pod', podObject('x/two', 'b', '10.244.1.3'));
  for (let round = 0; round < 5; round++) {
    objects.put('NetworkPolicy', policy('x', 'deny', { podSelector: {} }));
    await eventually(() => activeImage(started.node.policies) !== 0);
    await agree(started, objects);
    objects.delete('NetworkPolicy', 'x/deny');
    await eventually(() => activeImage(started.node.policies) === 0);
  }
  started.policies.close();
});

test('what policies do not see of pods and namespaces changes nothing: no connection is judged again', async () => {
  const objects = new Objects();
  const started = await start(objects);
  objects.put('Pod', podObject('x/one', 'a', '10.244.1.2'));
  objects.put('NetworkPolicy', policy('x', 'deny', { podSelector: {} }));
  await agree(started, objects);
  await sleep(50);
  const before = routeGeneration(started.node.node);
  for (let i = 0; i < 5; i++) {
    objects.put('Pod', podObject('x/one', 'a', '10.244.1.2'));
    objects.put('Namespace', { metadata: { name: 'y', annotations: { note: `${i}` } } });
  }
  await sleep(50);
  assert.is(routeGeneration(started.node.node), before);
  objects.put('Pod', podObject('x/one', 'c', '10.244.1.2'));
  await eventually(() => routeGeneration(started.node.node) > before);
  started.policies.close();
});

test.run();
