import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HorizontalPodAutoscaler } from '../../../../src/api/types/objects.ts';
import { ScalingHistory } from '../../../../src/controllers/autoscaling/scaling-history.ts';

type Behavior = HorizontalPodAutoscaler['spec']['behavior'];
const spec = (behavior?: Behavior, minReplicas = 1, maxReplicas = 100) =>
  ({
    scaleTargetRef: { kind: 'Deployment', name: 'x' },
    minReplicas,
    maxReplicas,
    behavior,
  }) as HorizontalPodAutoscaler['spec'];

test('a lower recommendation is followed when all of the last five minutes were lower', () => {
  const history = new ScalingHistory();
  assert.is(history.stabilize(spec(), 5, 10, 0).replicas, 10);
  const held = history.stabilize(spec(), 10, 3, 60_000);
  assert.is(held.replicas, 10);
  assert.is(held.reason, 'ScaleDownStabilized');
  assert.is(
    held.message,
    'recent recommendations were higher than current one, applying the highest recent recommendation',
  );
  assert.is(history.stabilize(spec(), 10, 2, 300_001).replicas, 3);
  assert.is(history.stabilize(spec(), 3, 2, 360_001).reason, 'ReadyForNewScale');
});

test('with a window for growth, the lowest recommendation of it counts', () => {
  const history = new ScalingHistory();
  const slow = spec({ scaleUp: { stabilizationWindowSeconds: 60 } });
  assert.is(history.stabilize(slow, 2, 3, 0).replicas, 3);
  const held = history.stabilize(slow, 2, 9, 30_000);
  assert.equal([held.replicas, held.reason], [3, 'ScaleUpStabilized']);
  assert.is(history.stabilize(slow, 2, 9, 60_001).replicas, 9);
});

test('growth is limited to four pods or twice as many in 15 seconds, whichever is more', () => {
  const history = new ScalingHistory();
  const first = history.limit(spec(), 1, 50, 0);
  assert.equal([first.replicas, first.reason], [5, 'ScaleUpLimit']);
  history.record(spec(), 1, 5, 0);
  assert.is(history.limit(spec(), 5, 50, 5000).replicas, 5, 'the period has not ended');
  assert.is(history.limit(spec(), 5, 50, 15_001).replicas, 10);
});

test('policies of an autoscaler replace the defaults, and may forbid a direction', () => {
  const one = { type: 'Pods' as const, value: 1, periodSeconds: 60 };
  const half = { type: 'Percent' as const, value: 50, periodSeconds: 60 };
  const history = new ScalingHistory();
  const down = (selectPolicy: 'Max' | 'Min' | 'Disabled') =>
    history.limit(spec({ scaleDown: { policies: [one, half], selectPolicy } }), 10, 1, 0);
  assert.is(down('Max').replicas, 5);
  assert.equal([down('Min').replicas, down('Min').reason], [9, 'ScaleDownLimit']);
  assert.is(down('Disabled').replicas, 10);
  const by = spec({ scaleDown: { policies: [one] } });
  history.record(by, 10, 9, 0);
  assert.is(history.limit(by, 9, 1, 30_000).replicas, 9);
  assert.is(history.limit(by, 9, 1, 60_001).replicas, 8);
});

test('the bounds of the autoscaler are named', () => {
  const history = new ScalingHistory();
  const many = history.limit(spec(undefined, 2, 4), 3, 6, 0);
  assert.equal([many.replicas, many.reason], [4, 'TooManyReplicas']);
  const few = history.limit(spec(undefined, 2, 4), 3, 1, 0);
  assert.equal([few.replicas, few.reason], [2, 'TooFewReplicas']);
  assert.is(history.limit(spec(undefined, 2, 4), 3, 3, 0).reason, 'DesiredWithinRange');
});

test.run();
