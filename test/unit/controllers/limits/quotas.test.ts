import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject, LimitRangeItem, Manifest } from '../../../../src/api/types/objects.ts';
import { configMap, eventually, pod, refusal, service, type TestCluster, withCluster } from '../test-cluster.ts';

type Client = TestCluster['client'];

const quota = (name: string, hard: Record<string, string>, more: object = {}) =>
  ({ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name }, spec: { hard, ...more } }) as Manifest<KubeObject>;

const range = (limits: LimitRangeItem[]) =>
  ({ apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'bounds' }, spec: { limits } }) as Manifest<KubeObject>;

const asking = (name: string, requests: Record<string, string>, limits: Record<string, string> = {}) =>
  pod(name, {}, { containers: [{ name: 'c', image: 'process', resources: { requests, limits } }] });

const used = async (client: Client, name: string, wanted: Record<string, string>) => {
  await eventually(async () => {
    const { status } = await client.get('ResourceQuota', name, 'default');
    if (JSON.stringify(status?.used) === JSON.stringify(wanted)) return true;
    throw new Error(`used: ${JSON.stringify(status?.used)}`);
  });
};

test(
  'a quota refuses objects beyond its limit, and a deletion releases its usage',
  withCluster(async ({ client }) => {
    await client.create(configMap('before'));
    await client.create(quota('few', { configmaps: '2', 'count/services': '1' }));
    await client.create(configMap('one'));
    const { code, message } = await refusal(client.create(configMap('two')));
    assert.is(code, 403);
    assert.is(
      message,
      'configmaps "two" is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=2, limited: configmaps=2',
    );
    await used(client, 'few', { configmaps: '2', 'count/services': '0' });
    await client.delete('ConfigMap', 'one');
    await client.create(configMap('two'));
    await client.create(service('a'));
    assert.match((await refusal(client.create(service('b')))).message, 'requested: count/services=1');
    await used(client, 'few', { configmaps: '2', 'count/services': '1' });
  }),
);

test(
  'concurrent creations are counted one by one',
  withCluster(async ({ client }) => {
    await client.create(quota('three', { configmaps: '3' }));
    const attempts = Array.from({ length: 20 }, (_, i) =>
      client.create(configMap(`c${i}`)).then(
        () => true,
        () => false,
      ),
    );
    assert.is((await Promise.all(attempts)).filter(Boolean).length, 3);
  }),
);

test(
  'requests and limits of pods are added up; a pod that does not specify a limited resource is refused',
  withCluster(async ({ client }) => {
    await client.create(quota('compute', { 'requests.cpu': '1', 'limits.memory': '1Gi', pods: '5' }));
    const without = await refusal(client.create(pod('bare')));
    assert.is(
      without.message,
      'pods "bare" is forbidden: failed quota: compute: must specify limits.memory for: c; requests.cpu for: c',
    );
    await client.create(asking('a', { cpu: '600m' }, { memory: '512Mi' }));
    const beyond = await refusal(client.create(asking('b', { cpu: '0.5' }, { memory: '600Mi' })));
    assert.match(
      beyond.message,
      'exceeded quota: compute, requested: limits.memory=600Mi,requests.cpu=500m, used: limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1',
    );
    await used(client, 'compute', { 'requests.cpu': '600m', 'limits.memory': '512Mi', pods: '1' });
  }),
);

test(
  'a pod that has ended uses only its count',
  withCluster(async ({ client }) => {
    await client.create(quota('one', { pods: '1', 'count/pods': '2' }));
    await client.create(pod('a'));
    assert.match((await refusal(client.create(pod('b')))).message, 'exceeded quota: one, requested: pods=1');
    await client.patchStatus('Pod', 'a', 'default', { phase: 'Succeeded' });
    await client.create(pod('b'));
    await used(client, 'one', { pods: '1', 'count/pods': '2' });
    await client.patchStatus('Pod', 'b', 'default', { phase: 'Failed' });
    assert.match((await refusal(client.create(pod('c')))).message, 'requested: count/pods=1, used: count/pods=2');
  }),
);

test(
  'a quota with a scope applies only to pods in that scope',
  withCluster(async ({ client }) => {
    await client.create(quota('short', { pods: '0' }, { scopes: ['Terminating'] }));
    await client.create(quota('effort', { pods: '1' }, { scopes: ['BestEffort'] }));
    await client.create(
      quota(
        'high',
        { pods: '0' },
        { scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In', values: ['high'] }] } },
      ),
    );
    const high = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name: 'high' }, value: 1 };
    await client.create(high as Manifest<KubeObject>);
    assert.match((await refusal(client.create(pod('a', {}, { activeDeadlineSeconds: 5 })))).message, 'quota: short');
    assert.match((await refusal(client.create(pod('b', {}, { priorityClassName: 'high' })))).message, 'quota: high');
    await client.create(pod('c'));
    assert.match((await refusal(client.create(pod('d')))).message, 'quota: effort');
    await client.create(asking('e', { cpu: '1m' }));
  }),
);

test(
  'ports, claims and custom kinds are counted by their resource names',
  withCluster(async ({ client }) => {
    await client.create(
      quota('all', {
        'services.nodeports': '1',
        'services.loadbalancers': '0',
        'requests.storage': '1Gi',
        'fast.storageclass.storage.k8s.io/persistentvolumeclaims': '0',
        'count/gadgets.example.com': '1',
      }),
    );
    const ports = [
      { name: 'a', port: 80 },
      { name: 'b', port: 81 },
    ];
    assert.match((await refusal(client.create(service('n', { type: 'NodePort', ports })))).message, 'nodeports=2');
    await client.create(service('n', { type: 'NodePort' }));
    assert.match((await refusal(client.create(service('l', { type: 'LoadBalancer' })))).message, 'loadbalancers=1');
    const claim = (name: string, storage: string, storageClassName?: string) =>
      ({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } }, storageClassName },
      }) as Manifest<KubeObject>;
    assert.match((await refusal(client.create(claim('big', '2Gi')))).message, 'requests.storage=2Gi');
    assert.match((await refusal(client.create(claim('fast', '1Mi', 'fast')))).message, 'fast.storageclass');
    await client.create(claim('small', '1Gi'));
    const schema = { openAPIV3Schema: { type: 'object' } };
    await client.create({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'gadgets.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'gadgets', kind: 'Gadget' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    } as unknown as Manifest<KubeObject>);
    await used(client, 'all', {
      'services.nodeports': '1',
      'services.loadbalancers': '0',
      'requests.storage': '1Gi',
      'fast.storageclass.storage.k8s.io/persistentvolumeclaims': '0',
      'count/gadgets.example.com': '0',
    });
  }),
);

test(
  'usage survives a restart, and a higher limit takes effect at once',
  withCluster(async (cluster) => {
    const { client } = cluster;
    await client.create(quota('few', { configmaps: '1' }));
    await client.create(configMap('one'));
    await cluster.restart();
    assert.match((await refusal(client.create(configMap('two')))).message, 'used: configmaps=1');
    await client.patch('ResourceQuota', 'few', { spec: { hard: { configmaps: '2' } } }, { namespace: 'default' });
    await client.create(configMap('two'));
    await used(client, 'few', { configmaps: '2' });
  }),
);

test(
  'a LimitRange sets missing requests and limits of containers, with an annotation that lists them',
  withCluster(async ({ client }) => {
    await client.create(range([{ type: 'Container', default: { cpu: '200m' }, defaultRequest: { memory: '64Mi' } }]));
    const made = await client.create(pod('a'));
    assert.equal(made.spec.containers[0]!.resources, {
      requests: { cpu: '200m', memory: '64Mi' },
      limits: { cpu: '200m' },
    });
    assert.is(
      made.metadata.annotations?.['kubernetes.io/limit-ranger'],
      'LimitRanger plugin set: cpu, memory request for container c; cpu limit for container c',
    );
    const own = await client.create(asking('b', { memory: '1Mi' }, { cpu: '50m' }));
    assert.equal(own.spec.containers[0]!.resources, {
      requests: { cpu: '50m', memory: '1Mi' },
      limits: { cpu: '50m' },
    });
  }),
);

test(
  'the bounds of a LimitRange apply to containers, whole pods and claims',
  withCluster(async ({ client }) => {
    await client.create(
      range([
        { type: 'Container', min: { cpu: '100m' }, max: { cpu: '1' }, maxLimitRequestRatio: { cpu: '4' } },
        { type: 'Pod', max: { cpu: '1500m' } },
        { type: 'PersistentVolumeClaim', min: { storage: '1Gi' }, max: { storage: '2Gi' } },
      ]),
    );
    const why = async (requests: Record<string, string>, limits: Record<string, string>) =>
      (await refusal(client.create(asking('p', requests, limits)))).message;
    assert.is(
      await why({ cpu: '100m' }, { cpu: '2' }),
      'pods "p" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, cpu max limit to request ratio per Container is 4, but provided ratio is 20.000000, maximum cpu usage per Pod is 1500m, but limit is 2]',
    );
    assert.match(
      await why({ cpu: '50m' }, { cpu: '100m' }),
      'minimum cpu usage per Container is 100m, but request is 50m',
    );
    const containers = ['a', 'b'].map((name) => ({ name, image: 'process', resources: { limits: { cpu: '800m' } } }));
    assert.match(
      (await refusal(client.create(pod('two', {}, { containers })))).message,
      'maximum cpu usage per Pod is 1500m, but limit is 1600m',
    );
    await client.create(asking('ok', { cpu: '500m' }, { cpu: '1' }));
    const claim = (storage: string) =>
      client.create({
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: 'c' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } },
      } as Manifest<KubeObject>);
    assert.match(
      (await refusal(claim('3Gi'))).message,
      'maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi',
    );
    assert.match((await refusal(claim('1Mi'))).message, 'minimum storage usage per PersistentVolumeClaim is 1Gi');
    await claim('1Gi');
  }),
);

test(
  'quantities are stored in canonical form',
  withCluster(async ({ client }) => {
    const resources = { limits: { cpu: 1, memory: '1024Mi' }, requests: { cpu: 0.5 } };
    const made = await client.create(pod('a', {}, { containers: [{ name: 'c', image: 'process', resources }] }));
    assert.equal(made.spec.containers[0]!.resources, {
      limits: { cpu: '1', memory: '1Gi' },
      requests: { cpu: '500m', memory: '1Gi' },
    });
  }),
);

test(
  'inconsistent quotas and LimitRanges are refused',
  withCluster(async ({ client }) => {
    const why = async (object: Manifest<KubeObject>) => (await refusal(client.create(object))).message;
    assert.match(await why(quota('q', { pods: '-1' })), 'must be greater than or equal to 0');
    assert.match(await why(quota('q', { pods: '1.5' })), 'must be an integer');
    assert.match(
      await why(quota('q', { cpu: '1' }, { scopes: ['BestEffort'] })),
      'unsupported scope applied to resource',
    );
    assert.match(await why(quota('q', { pods: '1' }, { scopes: ['Odd'] })), 'spec.scopes[0]: expected one of');
    assert.match(
      await why(range([{ type: 'Container', min: { cpu: '2' }, max: { cpu: '1' } }])),
      'min value 2 is greater than max value 1',
    );
    assert.match(
      await why(range([{ type: 'Pod', default: { cpu: '2' } }])),
      "may not be specified when `type` is 'Pod'",
    );
    assert.match(await why(range([{ type: 'PersistentVolumeClaim' }])), 'either minimum or maximum storage value');
    await client.create(quota('q', { pods: '1' }));
    assert.match(
      (
        await refusal(
          client.patch('ResourceQuota', 'q', { spec: { scopes: ['Terminating'] } }, { namespace: 'default' }),
        )
      ).message,
      'field is immutable',
    );
  }),
);

test.run();
