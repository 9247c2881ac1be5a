import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { NodeObject, Pod, PodSpec, TopologySpreadConstraint } from '../../../../src/api/types/objects.ts';
import {
  ANTI_AFFINITY,
  type Neighbourhood,
  NO_AFFINITY,
  OTHERS_ANTI_AFFINITY,
  preferenceOf,
  relationsOf,
  SPREAD,
  SPREAD_NO_LABEL,
} from '../../../../src/controllers/pods/pod-affinity.ts';
import { addNode, eventually, pod as manifest, runPod, withCluster } from '../test-cluster.ts';

const ZONE = 'topology.kubernetes.io/zone';
const HOST = 'kubernetes.io/hostname';
/** Two zones: a1 and a2 in `a`, b1 in `b`; x has no zone. */
const nodes = [
  ['a1', 'a'],
  ['a2', 'a'],
  ['b1', 'b'],
  ['x', undefined],
].map(
  ([name, zone]) =>
    ({ metadata: { name, labels: { [HOST]: name, ...(zone && { [ZONE]: zone }) } } }) as unknown as NodeObject,
);

function pod(app: string, spec: Partial<PodSpec> = {}, namespace = 'default'): Pod {
  return { metadata: { name: app, namespace, labels: { app } }, spec: { containers: [], ...spec } } as unknown as Pod;
}

function around(placed: Record<string, Pod[]>, excluded: string[] = []): Neighbourhood {
  return {
    nodes,
    placed: Object.entries(placed).flatMap(([name, pods]) =>
      pods.map((each) => ({ pod: each, node: nodes.find(({ metadata }) => metadata.name === name)! })),
    ),
    namespaceLabels: (name) => ({ team: name }),
    excluded: ({ metadata }) => excluded.includes(metadata.name),
  };
}

/** The verdict on each node. */
const verdicts = (wanted: Pod, neighbours: Neighbourhood) => {
  const judge = relationsOf(wanted, neighbours);
  return Object.fromEntries(nodes.map((node) => [node.metadata.name, judge(node)]));
};
const suitable = (wanted: Pod, neighbours: Neighbourhood): string[] =>
  Object.entries(verdicts(wanted, neighbours))
    .filter(([, why]) => why === undefined)
    .map(([name]) => name);

const term = (app: string, topologyKey: string, more: object = {}) => ({
  labelSelector: { matchLabels: { app } },
  topologyKey,
  ...more,
});
const near = (...terms: object[]) =>
  ({ affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } } }) as Partial<PodSpec>;
const away = (...terms: object[]) =>
  ({ affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: terms } } }) as Partial<PodSpec>;

test('affinity: the nodes of a domain that has such a pod', () => {
  const wanted = pod('web', near(term('cache', ZONE)));
  assert.equal(verdicts(wanted, around({ a1: [pod('cache')] })), {
    ...{ a1: undefined, a2: undefined, b1: NO_AFFINITY, x: NO_AFFINITY },
  });
  assert.equal(suitable(wanted, around({ a1: [pod('other')] })), []);
  assert.equal(suitable(wanted, around({ a1: [pod('cache', {}, 'elsewhere')] })), [], 'of its own namespace');
});

test('affinity: the first of a group of pods that want to be together may go anywhere in a domain', () => {
  const wanted = pod('web', near(term('web', ZONE)));
  assert.equal(suitable(wanted, around({})), ['a1', 'a2', 'b1']);
  assert.equal(suitable(wanted, around({ b1: [pod('web')] })), ['b1']);
});

test('affinity: namespaces by name and by label', () => {
  const cache = around({ b1: [pod('cache', {}, 'data')] });
  assert.equal(suitable(pod('web', near(term('cache', HOST, { namespaces: ['data'] }))), cache), ['b1']);
  const selector = { namespaceSelector: { matchLabels: { team: 'data' } } };
  assert.equal(suitable(pod('web', near(term('cache', HOST, selector))), cache), ['b1']);
  assert.equal(suitable(pod('web', near(term('cache', HOST, { namespaceSelector: {} }))), cache), ['b1']);
});

test('anti-affinity: not beside such a pod, and not beside one that keeps such pods away', () => {
  const apart = pod('web', away(term('web', HOST)));
  assert.equal(verdicts(apart, around({ a1: [pod('web')] })), {
    ...{ a1: ANTI_AFFINITY, a2: undefined, b1: undefined, x: undefined },
  });
  const jealous = around({ a1: [pod('db', away(term('web', ZONE)))] });
  assert.equal(verdicts(pod('web'), jealous), {
    ...{ a1: OTHERS_ANTI_AFFINITY, a2: OTHERS_ANTI_AFFINITY, b1: undefined, x: undefined },
  });
  assert.equal(suitable(pod('other'), jealous).length, 4);
});

const spread = (more: Partial<TopologySpreadConstraint> = {}): Partial<PodSpec> => ({
  topologySpreadConstraints: [
    {
      ...{ maxSkew: 1, topologyKey: ZONE, whenUnsatisfiable: 'DoNotSchedule' as const },
      labelSelector: { matchLabels: { app: 'web' } },
      ...more,
    },
  ],
});

test('spread: no domain has more than maxSkew pods more than the one with the fewest', () => {
  const wanted = pod('web', spread());
  assert.equal(verdicts(wanted, around({ a1: [pod('web')] })), {
    ...{ a1: SPREAD, a2: SPREAD, b1: undefined, x: SPREAD_NO_LABEL },
  });
  assert.equal(suitable(wanted, around({ a1: [pod('web')], b1: [pod('web')] })), ['a1', 'a2', 'b1']);
  assert.equal(suitable(pod('web', spread({ maxSkew: 2 })), around({ a1: [pod('web')] })), ['a1', 'a2', 'b1']);
  assert.equal(suitable(wanted, around({ a1: [pod('web', {}, 'other')] })), ['a1', 'a2', 'b1']);
  const ending = { ...pod('web'), metadata: { ...pod('web').metadata, deletionTimestamp: 'now' } };
  assert.equal(suitable(wanted, around({ a1: [ending] })), ['a1', 'a2', 'b1']);
});

test('spread: domains whose nodes the pod cannot use count only with nodeAffinityPolicy Ignore; minDomains', () => {
  const wanted = pod('web', spread());
  assert.equal(suitable(wanted, around({ a1: [pod('web')] }, ['b1'])), ['a1', 'a2', 'b1']);
  const ignoring = pod('web', spread({ nodeAffinityPolicy: 'Ignore' }));
  assert.equal(suitable(ignoring, around({ a1: [pod('web')] }, ['b1'])), ['b1']);
  const three = pod('web', spread({ minDomains: 3 }));
  assert.equal(suitable(three, around({ a1: [pod('web')], b1: [pod('web')] })), []);
});

test('spread: matchLabelKeys counts the pods of one version apart', () => {
  const labelled = (version: string, spec: Partial<PodSpec> = {}): Pod => {
    const each = pod('web', spec);
    return { ...each, metadata: { ...each.metadata, labels: { app: 'web', version } } };
  };
  const neighbours = around({ a1: [labelled('1'), labelled('1')] });
  assert.equal(suitable(labelled('2', spread()), neighbours), ['b1']);
  assert.equal(suitable(labelled('2', spread({ matchLabelKeys: ['version'] })), neighbours), ['a1', 'a2', 'b1']);
});

test('preferences: weights of terms that hold, and domains with fewer pods', () => {
  const order = (wanted: Pod, neighbours: Neighbourhood): string[] => {
    const value = preferenceOf(wanted, neighbours);
    return nodes
      .map((node) => [value(node), node.metadata.name] as const)
      .sort(([a], [b]) => b - a)
      .map(([, name]) => name);
  };
  const preferred = (kind: 'podAffinity' | 'podAntiAffinity', weight: number) =>
    ({
      affinity: {
        [kind]: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight, podAffinityTerm: term('cache', HOST) }] },
      },
    }) as Partial<PodSpec>;
  const cache = around({ b1: [pod('cache')] });
  assert.is(order(pod('web', preferred('podAffinity', 10)), cache)[0], 'b1');
  assert.is(order(pod('web', preferred('podAntiAffinity', 10)), cache).at(-1), 'b1');
  const anyway = pod('web', spread({ whenUnsatisfiable: 'ScheduleAnyway' }));
  assert.is(order(anyway, around({ a1: [pod('web'), pod('web')], b1: [pod('web')] }))[0], 'b1');
  assert.equal(suitable(anyway, around({ a1: [pod('web')] })).length, 4, 'it excludes no node');
});

test(
  'the scheduler: replicas that keep apart go to different nodes, one too many waits; a preferred node wins over a free one',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1', { [HOST]: 'n1', disk: 'ssd' });
    await addNode(client, 'n2', { [HOST]: 'n2' });
    const placed = async (name: string) => (await client.get('Pod', name, 'default')).spec.nodeName;
    const spec = { containers: [{ name: 'c', image: 'i' }], ...away(term('web', HOST)) };
    for (const name of ['one', 'two']) await runPod(client, manifest(name, { app: 'web' }, spec));
    assert.equal([await placed('one'), await placed('two')].sort(), ['n1', 'n2']);
    await client.create(manifest('three', { app: 'web' }, spec));
    const message = async (name: string) =>
      (await client.get('Pod', name, 'default')).status?.conditions?.find(({ type }) => type === 'PodScheduled')
        ?.message;
    await eventually(async () =>
      (await message('three'))?.startsWith("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."),
    );
    await client.create(manifest('near', {}, { containers: spec.containers, ...near(term('late', HOST)) }));
    await eventually(async () =>
      (await message('near'))?.startsWith("0/2 nodes are available: 2 node(s) didn't match pod affinity rules."),
    );
    await runPod(client, manifest('late', { app: 'late' }, { containers: spec.containers, nodeName: 'n2' }));
    await eventually(async () => (await placed('near')) === 'n2');
    const preference = { matchExpressions: [{ key: 'disk', operator: 'In' as const, values: ['ssd'] }] };
    const nodeAffinity = { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 5, preference }] };
    for (const name of ['p1', 'p2', 'p3', 'p4'])
      await runPod(client, manifest(name, {}, { containers: spec.containers, affinity: { nodeAffinity } }));
    assert.is(await placed('p4'), 'n1');
  }),
);

test.run();
