/** The columns of `kubectl get` for each kind. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RESOURCES } from '../../../../src/api/resources.ts';
import { printLabels, printSelector } from '../../../../src/api/tables/cells.ts';
import { columnDefinitions, columnsOf } from '../../../../src/api/tables/table.ts';
import type { Kind, KubeObject } from '../../../../src/api/types/objects.ts';

const NOW = Date.parse('2026-01-01T00:05:00Z');
const metadata = { name: 'a', namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z' };

/** The cells of an object; those shown only with `-o wide` follow a bar. */
function cells(kind: Kind, object: object): string {
  const { names, row } = columnsOf(kind);
  const all = row({ metadata, ...object } as unknown as KubeObject, NOW).map(String);
  const of = (wide: boolean) => all.filter((_, i) => names[i]!.startsWith('+') === wide).join(' · ');
  return of(true) === '' ? of(false) : `${of(false)} | ${of(true)}`;
}

/** The minimal object of each kind that needs more than metadata and an empty spec. */
const BARE: Record<string, object> = {
  Pod: { spec: { containers: [] } },
  Deployment: { spec: { selector: {}, template: { spec: { containers: [] } } } },
  ReplicaSet: { spec: { selector: {}, template: { spec: { containers: [] } } } },
  EndpointSlice: { addressType: 'IPv4' },
  Event: { involvedObject: {} },
};

test('every kind has columns, and a row with one cell for each even from a minimal object', () => {
  for (const { key } of RESOURCES) {
    const { names, row } = columnsOf(key);
    const object = { metadata, spec: {}, ...BARE[key] } as unknown as KubeObject;
    const line = row(object, NOW);
    assert.is(line.length, names.length, key);
    for (const [i, cell] of line.entries()) assert.ok(cell !== undefined && cell !== null, `${key}: ${names[i]}`);
    columnDefinitions(columnsOf(key)).forEach((definition, i) => {
      const { type } = definition as { type: string };
      if (type === 'integer') assert.type(line[i], 'number', `${key}: ${names[i]}`);
    });
  }
});

test('a pod: sidecars count like containers, and one that has started does not hold up the initialization', () => {
  const container = (name: string, more: object = {}) => ({ name, image: 'i', ...more });
  const spec = {
    initContainers: [container('proxy', { restartPolicy: 'Always' }), container('init')],
    containers: [container('main')],
  };
  const running = { state: { running: {} } };
  const proxy = { name: 'proxy', ready: true, started: true, restartCount: 2, ...running };
  const columns = (status: object) => cells('Pod', { spec, status }).split(' · ').slice(0, 4).join(' · ');
  const init = { name: 'init', ready: false, started: true, restartCount: 0, ...running };
  const waiting = { name: 'main', ready: false, restartCount: 0, state: { waiting: { reason: 'PodInitializing' } } };
  assert.is(
    columns({
      phase: 'Pending',
      initContainerStatuses: [{ ...proxy, started: false, ready: false }, init],
      containerStatuses: [waiting],
    }),
    'a · 0/2 · Init:0/2 · 2',
  );
  assert.is(
    columns({ phase: 'Pending', initContainerStatuses: [proxy, init], containerStatuses: [waiting] }),
    'a · 1/2 · Init:1/2 · 2',
  );
  const done = { ...init, state: { terminated: { exitCode: 0 } } };
  const main = { name: 'main', ready: true, started: true, restartCount: 0, ...running };
  assert.is(
    columns({ phase: 'Running', initContainerStatuses: [proxy, done], containerStatuses: [main] }),
    'a · 2/2 · Running · 2',
  );
});

test('an event: -o wide adds its source and subobject', () => {
  const event = {
    involvedObject: { kind: 'Pod', name: 'web', fieldPath: 'spec.containers{c}' },
    type: 'Warning',
    reason: 'BackOff',
    message: 'restarting\n',
    source: { component: 'kubelet', host: 'n1' },
    count: 3,
    firstTimestamp: '2026-01-01T00:01:00Z',
    lastTimestamp: '2026-01-01T00:04:00Z',
  };
  const wide = 'spec.containers{c} · kubelet, n1 · 4m · 3 · a';
  assert.is(cells('Event', event), `60s · Warning · BackOff · pod/web · restarting | ${wide}`);
});

test('a volume claim: access modes are abbreviated', () => {
  const claim = {
    spec: { storageClassName: 'fast', volumeName: 'pv1' },
    status: { phase: 'Bound', capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce', 'ReadOnlyMany'] },
  };
  assert.is(cells('PersistentVolumeClaim', claim), 'a · Bound · pv1 · 1Gi · RWO,ROX · fast · <unset> · 5m | <unset>');
});

test('an autoscaler: targets show the measured value before the target', () => {
  const resource = { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } };
  const spec = {
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    maxReplicas: 5,
    metrics: [{ type: 'Resource', resource }],
  };
  assert.is(
    cells('HorizontalPodAutoscaler', { spec }),
    'a · Deployment/web · cpu: <unknown>/80% · <unset> · 5 · 0 · 5m',
  );
  const measured = [{ type: 'Resource', resource: { current: { averageUtilization: 12 } } }];
  const status = { currentMetrics: measured, currentReplicas: 2 };
  assert.match(cells('HorizontalPodAutoscaler', { spec, status }), 'cpu: 12%/80%');
});

test('a job: status, completions and duration', () => {
  const job = {
    spec: { completions: 3 },
    status: {
      succeeded: 3,
      startTime: '2026-01-01T00:00:00Z',
      completionTime: '2026-01-01T00:01:05Z',
      conditions: [{ type: 'Complete', status: 'True' }],
    },
  };
  assert.match(cells('Job', job), 'a · Complete · 3/3 · 65s · 5m');
});

test('bindings: the role; -o wide adds the subjects', () => {
  const binding = {
    roleRef: { kind: 'ClusterRole', name: 'view' },
    subjects: [
      { kind: 'User', name: 'ann' },
      { kind: 'ServiceAccount', name: 'bot', namespace: 'ci' },
    ],
  };
  assert.is(cells('RoleBinding', binding), 'a · ClusterRole/view · 5m | ann ·  · ci/bot');
});

test('labels and selectors are sorted by key, and the values of an expression too, as kubectl prints them', () => {
  assert.is(printLabels({ tier: 'web', app: 'mc3' }), 'app=mc3,tier=web');
  const matchExpressions = [
    { key: 'env', operator: 'In' as const, values: ['prod', 'dev'] },
    { key: 'b', operator: 'DoesNotExist' as const },
  ];
  assert.is(
    printSelector({ matchLabels: { tier: 'web', app: 'mc3' }, matchExpressions }),
    'app=mc3,!b,env in (dev,prod),tier=web',
  );
});

test.run();
