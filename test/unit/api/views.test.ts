/** Kinds served in two versions: events of both groups, autoscalers of both versions. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject } from '../../../src/api/types/objects.ts';
import { AUTOSCALING_V1, EVENTS_V1 } from '../../../src/api/views.ts';
import { getJson, request, withCluster } from '../controllers/test-cluster.ts';

const NEW_EVENTS = '/apis/events.k8s.io/v1/namespaces/default/events';
const CORE_EVENTS = '/api/v1/namespaces/default/events';

test(
  'an event written in one group can be read in the other, with the fields of that group',
  withCluster(async ({ socketPath }) => {
    const event = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'e', namespace: 'default' },
      eventTime: '2026-01-01T00:00:00.000000Z',
      reportingController: 'example.com/watcher',
      reportingInstance: 'watcher-1',
      action: 'Look',
      reason: 'Seen',
      regarding: { kind: 'Pod', name: 'web', namespace: 'default' },
      note: 'there it is',
      type: 'Normal',
    };
    assert.is((await request(socketPath, 'POST', NEW_EVENTS, event)).status, 201);
    interface Core {
      apiVersion: string;
      involvedObject: { name: string };
      message: string;
      reportingComponent: string;
    }
    const core = await getJson<Core>(socketPath, `${CORE_EVENTS}/e`);
    assert.is(core.apiVersion, 'v1');
    assert.is(core.involvedObject.name, 'web');
    assert.is(core.message, 'there it is');
    assert.is(core.reportingComponent, 'example.com/watcher');
    const list = await getJson<{ apiVersion: string; items: (typeof event)[] }>(
      socketPath,
      `${NEW_EVENTS}?fieldSelector=regarding.name%3Dweb`,
    );
    assert.is(list.apiVersion, 'events.k8s.io/v1');
    assert.is(list.items[0]!.note, 'there it is');
    const patch = { note: 'still there', series: { count: 2, lastObservedTime: '2026-01-01T00:01:00.000000Z' } };
    await request(socketPath, 'PATCH', `${NEW_EVENTS}/e`, patch, 'application/merge-patch+json');
    assert.is((await getJson<Core>(socketPath, `${CORE_EVENTS}/e`)).message, 'still there');
    const watched = await request(socketPath, 'GET', `${NEW_EVENTS}?watch&timeoutSeconds=1`);
    assert.is(JSON.parse(watched.body.split('\n')[0]!).object.note, 'still there');
    const core2 = { ...event, apiVersion: 'v1' };
    assert.is((await request(socketPath, 'POST', NEW_EVENTS, core2)).status, 400, 'of the other group');
  }),
);

test('conversion to the other version and back loses nothing', () => {
  const event = {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'e' },
    message: 'm',
    count: 2,
    involvedObject: {},
  };
  const there = EVENTS_V1.read(event as unknown as KubeObject);
  assert.equal(there, {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: 'e' },
    note: 'm',
    deprecatedCount: 2,
    regarding: {},
  });
  assert.equal(EVENTS_V1.write(there as never), event);
});

test('autoscaling/v1 has a field for CPU utilization, and keeps other metrics in an annotation', () => {
  const cpu = {
    type: 'Resource',
    resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
  };
  const memory = {
    type: 'Resource',
    resource: { name: 'memory', target: { type: 'Utilization', averageUtilization: 50 } },
  };
  const stored = {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'web' },
    spec: { scaleTargetRef: { kind: 'Deployment', name: 'web' }, maxReplicas: 3, metrics: [cpu, memory] },
    status: {
      currentReplicas: 1,
      currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 12 } } }],
    },
  };
  const one = AUTOSCALING_V1.read(stored as unknown as KubeObject) as unknown as Record<
    string,
    Record<string, unknown>
  >;
  assert.equal(one.spec, {
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    maxReplicas: 3,
    targetCPUUtilizationPercentage: 80,
  });
  assert.equal(one.status, { currentReplicas: 1, currentCPUUtilizationPercentage: 12 });
  const back = AUTOSCALING_V1.write(one) as typeof stored;
  assert.equal(back.spec, stored.spec);
  const rubbish = { ...one, metadata: { annotations: { 'autoscaling.alpha.kubernetes.io/metrics': '{' } } };
  assert.equal((AUTOSCALING_V1.write(rubbish) as typeof stored).spec.metrics, [cpu]);
});

test.run();
