import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, PodMetrics } from '../../../../src/api/types/objects.ts';
import { proposeReplicas, type Question } from '../../../../src/controllers/autoscaling/replica-calculator.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const at = (secondsAgo: number) => new Date(NOW - secondsAgo * 1000).toISOString();

interface Given {
  /** Used milli-CPUs; undefined: no metrics. */
  used: number | undefined;
  request?: number;
  phase?: string;
  ready?: boolean;
  startedAgo?: number;
  readyAgo?: number;
  deleted?: boolean;
}

function question(target: Question['target'], given: readonly Given[], more: Partial<Question> = {}): Question {
  const metrics = new Map<string, PodMetrics>();
  const pods = given.map(({ used, request = 100, phase = 'Running', ready = true, ...times }, i) => {
    const name = `p${i}`;
    const containers = [{ name: 'c', usage: { cpu: `${used}m`, memory: '1Mi' } }];
    if (used !== undefined) metrics.set(name, { timestamp: at(1), window: '15s', containers } as unknown as PodMetrics);
    return {
      metadata: { name, ...(times.deleted && { deletionTimestamp: at(0) }) },
      spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: `${request}m` } } }] },
      status: {
        phase,
        startTime: at(times.startedAgo ?? 1000),
        conditions: [
          { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: at(times.readyAgo ?? 900) },
        ],
      },
    } as unknown as Pod;
  });
  return { resource: 'cpu', target, current: given.length, pods, metrics, nowMs: NOW, ...more };
}

const replicas = (...args: Parameters<typeof question>) => proposeReplicas(question(...args)).replicas;
const HALF = { utilization: 50 };

test('replicas follow the ratio of use and target, rounded up', () => {
  assert.is(replicas(HALF, [{ used: 100 }, { used: 100 }]), 4);
  assert.is(replicas(HALF, [{ used: 60 }, { used: 100 }, { used: 80 }]), 5);
  assert.is(replicas(HALF, [{ used: 10 }, { used: 10 }, { used: 10 }, { used: 10 }]), 1);
  assert.is(replicas({ averageMillis: 100 }, [{ used: 250 }, { used: 250 }]), 5);
});

test('within a tenth of the target nothing changes', () => {
  assert.is(replicas(HALF, [{ used: 54 }, { used: 54 }]), 2);
  assert.is(replicas(HALF, [{ used: 46 }, { used: 46 }]), 2);
  assert.is(replicas(HALF, [{ used: 56 }, { used: 56 }]), 3);
  assert.is(replicas(HALF, [{ used: 54 }, { used: 54 }], { tolerance: { up: 0.05, down: 0.1 } }), 3);
});

test('a pod that is not ready weakens growth and does not hinder shrinking', () => {
  assert.is(replicas(HALF, [{ used: 200 }, { used: undefined, phase: 'Pending' }]), 4);
  // Three of four are not ready: counted as 0 %, the ratio is 1, and nothing changes.
  const unready = { used: 0, ready: false, startedAgo: 20, readyAgo: 20 };
  assert.is(replicas(HALF, [{ used: 200 }, unready, unready, unready]), 4);
  assert.is(replicas(HALF, [{ used: 5 }, { used: 5 }, unready]), 1);
});

test('a pod that has just become ready counts once its metrics are newer than that', () => {
  const fresh = { startedAgo: 20, readyAgo: 10 };
  assert.throws(() => replicas(HALF, [{ used: 100, ...fresh }]), 'pods might be unready');
  assert.is(replicas(HALF, [{ used: 100, startedAgo: 40, readyAgo: 30 }]), 2);
});

test('a pod without metrics counts as idle when growing, and as busy when shrinking', () => {
  assert.is(replicas(HALF, [{ used: 300 }, { used: undefined }]), 6);
  assert.is(replicas(HALF, [{ used: 60 }, { used: undefined }]), 2);
  assert.is(replicas(HALF, [{ used: 10 }, { used: undefined }]), 2);
});

test('pods that are being deleted or have failed do not count', () => {
  assert.is(
    replicas(HALF, [{ used: 100 }, { used: 900, deleted: true }, { used: 900, phase: 'Failed' }], { current: 1 }),
    2,
  );
});

test('what is missing is named', () => {
  const none = question(HALF, [{ used: undefined }]);
  assert.throws(
    () => proposeReplicas(none),
    'unable to get metrics for resource cpu: no metrics returned from resource metrics API',
  );
  const plain = question(HALF, [{ used: 1 }]);
  delete plain.pods[0]!.spec.containers[0]!.resources;
  assert.throws(() => proposeReplicas(plain), 'missing request for cpu in container c of Pod p0');
  assert.throws(() => replicas(HALF, [{ used: 1 }], { container: 'other' }), 'no metrics returned');
});

test('the average and the utilization are reported', () => {
  const { averageMillis, utilization } = proposeReplicas(question(HALF, [{ used: 30 }, { used: 61 }]));
  assert.equal([averageMillis, utilization], [45, 45]);
});

test.run();
