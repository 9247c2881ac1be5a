/** Priority classes: what pods get from them, and what is refused, in the API server's words. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, PriorityClass } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, pod, refusal, request, sleep, type TestCluster, withCluster } from '../test-cluster.ts';

const priorityClass = (name: string, value: number, more: Partial<PriorityClass> = {}) =>
  ({ apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name }, value, ...more }) as PriorityClass;

const why = async (call: Promise<unknown>) => (await refusal(call)).message;
const made = async (client: TestCluster['client'], name: string, spec: Partial<Pod['spec']> = {}) => {
  const { priority, priorityClassName, preemptionPolicy } = (await client.create(pod(name, {}, spec))).spec;
  return [priorityClassName, priority, preemptionPolicy];
};

test(
  'a pod has the priority of its class, of the default class, or 0',
  withCluster(async ({ client }) => {
    assert.equal(await made(client, 'a'), [undefined, 0, 'PreemptLowerPriority']);
    await client.create(priorityClass('high', 1000, { preemptionPolicy: 'Never' }));
    assert.equal(await made(client, 'b', { priorityClassName: 'high' }), ['high', 1000, 'Never']);
    await client.create(priorityClass('usual', 10, { globalDefault: true }));
    assert.equal(await made(client, 'c'), ['usual', 10, 'PreemptLowerPriority']);
    assert.equal(await made(client, 'd', { priorityClassName: 'system-node-critical' }), [
      'system-node-critical',
      2_000_001_000,
      'PreemptLowerPriority',
    ]);
    const a = await client.get('Pod', 'a', 'default');
    assert.is(a.spec.priority, 0, 'pods keep what they got');
    const { priority: _, ...spec } = a.spec;
    assert.is(
      (await client.update<Pod>({ ...a, spec, metadata: { ...a.metadata, labels: { x: 'y' } } })).spec.priority,
      0,
    );
  }),
);

test(
  'a class that does not exist, and values other than those of the class, are refused',
  withCluster(async ({ client }) => {
    const forbidden = 'pods "p" is forbidden: ';
    const create = (spec: Partial<Pod['spec']>) => why(client.create(pod('p', {}, spec)));
    assert.is(await create({ priorityClassName: 'nope' }), `${forbidden}no PriorityClass with name nope was found`);
    assert.is(
      await create({ priority: 7 }),
      `${forbidden}the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name`,
    );
    assert.match(await create({ preemptionPolicy: 'Never' }), 'the string value of PreemptionPolicy (Never) must not');
    assert.match(
      await why(
        client
          .create(pod('p', {}, { priority: 0 }))
          .then((p) => client.patch('Pod', p.metadata.name, { spec: { priority: 5 } })),
      ),
      'pod updates may not change fields other than',
    );
  }),
);

test(
  'classes: one default, reserved names, values that stay, classes of the system that cannot be deleted',
  withCluster(async ({ client }) => {
    const create = (...args: Parameters<typeof priorityClass>) => why(client.create(priorityClass(...args)));
    await client.create(priorityClass('usual', 10, { globalDefault: true }));
    assert.is(
      await create('other', 5, { globalDefault: true }),
      'priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist',
    );
    assert.match(
      await create('top', 1_000_000_001),
      'value: Forbidden: maximum allowed value of a user defined priority is 1000000000',
    );
    assert.match(
      await create('system-mine', 5),
      "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
    );
    assert.match(
      await why(client.patch('PriorityClass', 'usual', { value: 11 })),
      'value: Forbidden: may not be changed in an update.',
    );
    assert.match(
      await why(client.patch('PriorityClass', 'usual', { preemptionPolicy: 'Never' })),
      'preemptionPolicy: Invalid value: "Never": field is immutable',
    );
    assert.is(
      await why(client.delete('PriorityClass', 'system-cluster-critical')),
      'priorityclasses.scheduling.k8s.io "system-cluster-critical" is forbidden: this is a system priority class and cannot be deleted',
    );
    await client.patch('PriorityClass', 'usual', { description: 'of most pods' });
    await client.delete('PriorityClass', 'usual');
  }),
);

test(
  'when room becomes free, the waiting pod of the highest priority gets it',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(priorityClass('high', 1000));
    const port = { containers: [{ name: 'c', image: 'process', ports: [{ containerPort: 80, hostPort: 8080 }] }] };
    const node = async (name: string) => (await client.get('Pod', name, 'default')).spec.nodeName;
    await client.create(pod('first', {}, port));
    await eventually(() => node('first'));
    for (const name of ['low-1', 'low-2']) await client.create(pod(name, {}, port));
    await client.create(pod('urgent', {}, { ...port, priorityClassName: 'high' }));
    await sleep(50);
    await client.delete('Pod', 'first', { gracePeriodSeconds: 0 });
    assert.is(await eventually(() => node('urgent')), 'n1');
    assert.is(await node('low-1'), undefined);
  }),
);

test(
  'a pod of another scheduler waits for it, and gets its address when it is bound',
  withCluster(async ({ client, socketPath }) => {
    await addNode(client, 'n1');
    await client.create(pod('p', {}, { schedulerName: 'mine' }));
    await client.create(pod('q'));
    await eventually(async () => (await client.get('Pod', 'q', 'default')).spec.nodeName);
    assert.is((await client.get('Pod', 'p', 'default')).spec.nodeName, undefined);
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'p' },
      target: { kind: 'Node', name: 'n1' },
    };
    await request(socketPath, 'POST', '/api/v1/namespaces/default/pods/p/binding', binding);
    await eventually(
      async () => (await client.get('Pod', 'p', 'default')).metadata.annotations?.['dataplane.dev/pod-ip'],
    );
  }),
);

test(
  'every pod tolerates an unreachable node for five minutes, unless it says otherwise',
  withCluster(async ({ client }) => {
    const ofNode = (name: string) => ({
      key: `node.kubernetes.io/${name}`,
      operator: 'Exists' as const,
      effect: 'NoExecute' as const,
      tolerationSeconds: 300,
    });
    assert.equal((await client.create(pod('a'))).spec.tolerations, [ofNode('not-ready'), ofNode('unreachable')]);
    const all = [{ operator: 'Exists' as const }];
    assert.equal((await client.create(pod('b', {}, { tolerations: all }))).spec.tolerations, all);
    const own = [{ ...ofNode('unreachable'), tolerationSeconds: 5 }];
    assert.equal((await client.create(pod('c', {}, { tolerations: own }))).spec.tolerations, [
      ...own,
      ofNode('not-ready'),
    ]);
  }),
);

test.run();
