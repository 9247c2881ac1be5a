import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { UsageSource } from '../../../../src/api/metrics/usage.ts';
import type { HorizontalPodAutoscaler, KubeObject, Manifest, PodMetrics } from '../../../../src/api/types/objects.ts';
import {
  addNode,
  eventually,
  getJson,
  refusal,
  request,
  setReady,
  type TestCluster,
  withCluster,
} from '../test-cluster.ts';

type Client = TestCluster['client'];

/** Metrics as the test says. */
class FakeUsage implements UsageSource {
  /** Milli-CPUs by the name of the pod's owner, or of the pod. */
  millis = new Map<string, number>();
  client: Client | undefined;

  async nodes(name?: string) {
    const items = [{ name: 'n1', cpu: '250m' }].filter((each) => name === undefined || each.name === name);
    return items.map(({ name, cpu }) => ({
      apiVersion: 'metrics.k8s.io/v1beta1',
      kind: 'NodeMetrics',
      metadata: { name } as KubeObject['metadata'],
      timestamp: new Date().toISOString(),
      window: '1s',
      usage: { cpu, memory: '64Mi' },
    }));
  }

  async pods(namespace?: string): Promise<PodMetrics[]> {
    const { items } = await this.client!.list('Pod', namespace === undefined ? {} : { namespace });
    return items.flatMap(({ metadata }) => {
      const millis = this.millis.get(metadata.labels?.app ?? '');
      if (millis === undefined) return [];
      const containers = [{ name: 'c', usage: { cpu: `${millis}m`, memory: '32Mi' } }];
      const timestamp = new Date(Date.now() + 60_000).toISOString();
      return {
        apiVersion: 'metrics.k8s.io/v1beta1',
        kind: 'PodMetrics',
        metadata,
        timestamp,
        window: '1s',
        containers,
      };
    });
  }
}

const withUsage = (body: (cluster: TestCluster, usage: FakeUsage) => Promise<void>) => async () => {
  const usage = new FakeUsage();
  await withCluster(
    async (cluster) => {
      usage.client = cluster.client;
      await addNode(cluster.client, 'n1');
      await body(cluster, usage);
    },
    { usage },
  )();
};

function deployment(name: string, replicas: number) {
  const resources = { requests: { cpu: '100m' } };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: 'c', image: 'process', resources }] },
      },
    },
  } as unknown as Manifest<KubeObject>;
}

const autoscaler = (name: string, spec: Partial<HorizontalPodAutoscaler['spec']>) =>
  ({
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name },
    spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name }, maxReplicas: 10, ...spec },
  }) as Manifest<HorizontalPodAutoscaler>;

const resource = (averageUtilization: number) => [
  {
    type: 'Resource' as const,
    resource: { name: 'cpu', target: { type: 'Utilization' as const, averageUtilization } },
  },
];

async function running(client: Client, app: string, count: number): Promise<void> {
  const pods = await eventually(async () => {
    const { items } = await client.list('Pod', { namespace: 'default', labelSelector: `app=${app}` });
    const placed = items.filter(({ spec }) => spec.nodeName !== undefined);
    return placed.length === count && placed;
  });
  for (const pod of pods) {
    await setReady(client, pod, true);
    const startTime = new Date(Date.now() - 3_600_000).toISOString();
    const { status } = await client.get('Pod', pod.metadata.name, 'default');
    await client.patchStatus('Pod', pod.metadata.name, 'default', { ...status, startTime });
  }
}

const get = (client: Client, name: string) => client.get('HorizontalPodAutoscaler', name, 'default');
const condition = async (client: Client, name: string, type: string, reason: string) =>
  eventually(async () => {
    const found = (await get(client, name)).status?.conditions?.find((each) => each.type === type);
    if (found?.reason === reason) return found;
    throw new Error(JSON.stringify((await get(client, name)).status));
  });

test(
  'a Deployment grows with the use of its pods, and the autoscaler says why',
  withUsage(async ({ client }, usage) => {
    await client.create(deployment('web', 2));
    await running(client, 'web', 2);
    usage.millis.set('web', 100);
    await client.create(autoscaler('web', { metrics: resource(50) }));
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).spec.replicas === 4);
    const { status } = await get(client, 'web');
    assert.equal([status?.currentReplicas, status?.desiredReplicas], [2, 4]);
    assert.equal(status?.currentMetrics, [
      { type: 'Resource', resource: { name: 'cpu', current: { averageValue: '100m', averageUtilization: 100 } } },
    ]);
    assert.ok(status?.lastScaleTime);
    await condition(client, 'web', 'AbleToScale', 'SucceededRescale');
    await condition(client, 'web', 'ScalingActive', 'ValidMetricFound');
    await condition(client, 'web', 'ScalingLimited', 'DesiredWithinRange');
    const { items } = await client.list('Event', { namespace: 'default' });
    const event = items.find(({ reason }) => reason === 'SuccessfulRescale');
    assert.is(event?.message, 'New size: 4; reason: cpu resource utilization (percentage of request) above target');
  }),
);

test(
  'replicas outside of the bounds are brought inside without metrics',
  withUsage(async ({ client }) => {
    await client.create(deployment('web', 1));
    await client.create(autoscaler('web', { minReplicas: 3, maxReplicas: 5 }));
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).spec.replicas === 3);
    await client.patch('Deployment', 'web', { spec: { replicas: 9 } }, { namespace: 'default' });
    await client.patch('HorizontalPodAutoscaler', 'web', { spec: { maxReplicas: 6 } }, { namespace: 'default' });
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).spec.replicas === 6);
  }),
);

test(
  'without metrics, without a target, and at zero replicas nothing is scaled, and a condition says why',
  withUsage(async ({ client }) => {
    await client.create(deployment('web', 2));
    await running(client, 'web', 2);
    await client.create(autoscaler('web', { metrics: resource(50) }));
    const inactive = await condition(client, 'web', 'ScalingActive', 'FailedGetResourceMetric');
    assert.is(
      inactive.message,
      'the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API',
    );
    await client.create(autoscaler('missing', {}));
    const unable = await condition(client, 'missing', 'AbleToScale', 'FailedGetScale');
    assert.match(unable.message ?? '', 'deployments.apps "missing" not found');
    await client.create(deployment('off', 0));
    await client.create(autoscaler('off', {}));
    await condition(client, 'off', 'ScalingActive', 'ScalingDisabled');
    assert.is((await client.get('Deployment', 'off', 'default')).spec.replicas, 0);
    await client.create(deployment('custom', 1));
    const pods = { metric: { name: 'requests' }, target: { type: 'AverageValue', averageValue: '1' } };
    await client.create(autoscaler('custom', { metrics: [{ type: 'Pods', pods } as never] }));
    await condition(client, 'custom', 'ScalingActive', 'FailedGetPodsMetric');
  }),
);

test(
  'of several metrics the largest proposal counts, also that of a single container',
  withUsage(async ({ client }, usage) => {
    await client.create(deployment('web', 1));
    await running(client, 'web', 1);
    usage.millis.set('web', 100);
    const container = {
      type: 'ContainerResource' as const,
      containerResource: {
        name: 'cpu',
        container: 'c',
        target: { type: 'AverageValue' as const, averageValue: '40m' },
      },
    };
    await client.create(autoscaler('web', { metrics: [...resource(90), container] }));
    await eventually(async () => (await client.get('Deployment', 'web', 'default')).spec.replicas === 3);
    const [, second] = (await get(client, 'web')).status!.currentMetrics as { containerResource: object }[];
    assert.equal(second!.containerResource, { name: 'cpu', container: 'c', current: { averageValue: '100m' } });
  }),
);

test(
  'an autoscaler gets its defaults, and one that cannot be is refused',
  withUsage(async ({ client }) => {
    const made = await client.create(autoscaler('a', { behavior: { scaleUp: { stabilizationWindowSeconds: 3 } } }));
    assert.equal(made.spec.metrics, resource(80));
    assert.is(made.spec.minReplicas, 1);
    assert.is(made.spec.behavior?.scaleUp?.policies?.length, 2);
    assert.is(made.spec.behavior?.scaleUp?.stabilizationWindowSeconds, 3);
    const why = async (spec: object) => (await refusal(client.create(autoscaler('b', spec)))).message;
    assert.match(await why({ minReplicas: 5, maxReplicas: 4 }), 'must be greater than or equal to `minReplicas`');
    assert.match(await why({ maxReplicas: 0 }), 'must be greater than 0');
    assert.match(
      await why({ metrics: [{ type: 'Resource' }] }),
      'must populate information for the given metric source',
    );
    assert.match(await why({ metrics: resource(0) }), 'averageUtilization: Invalid value: 0: must be greater than 0');
    const policies = [{ type: 'Pods', value: 1, periodSeconds: 9999 }];
    assert.match(await why({ behavior: { scaleDown: { policies } } }), 'must be less than or equal to 1800');
  }),
);

test(
  'metrics.k8s.io serves lists, single objects and Tables, and is found by discovery and OpenAPI',
  withUsage(async ({ client, socketPath }, usage) => {
    await client.create(deployment('web', 1));
    await running(client, 'web', 1);
    usage.millis.set('web', 7);
    const root = '/apis/metrics.k8s.io/v1beta1';
    const pods = await getJson<{ kind: string; items: PodMetrics[] }>(socketPath, `${root}/namespaces/default/pods`);
    assert.is(pods.kind, 'PodMetricsList');
    assert.equal(pods.items[0]!.containers, [{ name: 'c', usage: { cpu: '7m', memory: '32Mi' } }]);
    const name = pods.items[0]!.metadata.name;
    assert.is((await getJson<KubeObject>(socketPath, `${root}/namespaces/default/pods/${name}`)).kind, 'PodMetrics');
    assert.is((await getJson<KubeObject>(socketPath, `${root}/nodes/n1`)).kind, 'NodeMetrics');
    assert.is((await request(socketPath, 'GET', `${root}/nodes/n9`)).status, 404);
    assert.is((await request(socketPath, 'POST', `${root}/nodes`, {})).status, 405);
    const none = await getJson<{ items: object[] }>(socketPath, `${root}/pods?labelSelector=app%3Dother`);
    assert.equal(none.items, []);
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    const table = await getJson<{ rows: { cells: unknown[] }[] }>(socketPath, `${root}/nodes`, accept);
    assert.equal(table.rows[0]!.cells, ['n1', '250m', '64Mi', '1s']);
    const list = await getJson<{ resources: { name: string; verbs: string[] }[] }>(socketPath, root);
    assert.equal(
      list.resources.map(({ name, verbs }) => [name, verbs.join()]),
      [
        ['nodes', 'get,list'],
        ['pods', 'get,list'],
      ],
    );
    const openApi = await getJson<{ paths: Record<string, object> }>(socketPath, `/openapi/v3${root}`);
    assert.equal(Object.keys(openApi.paths[`${root}/nodes`]!), ['get']);
  }),
);

test.run();
