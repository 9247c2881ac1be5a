/** A pod's STATUS, and why an object is not Ready. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { podReason } from '../../../src/api/tables/pod-text.ts';
import type { KubeObject, Pod } from '../../../src/api/types/objects.ts';
import { whyNotReady } from '../../../src/cluster/readiness.ts';

const test = suite('readiness');

const pod = (status: Partial<Pod['status']> & object, metadata: object = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'mc3', namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z', ...metadata },
    spec: { nodeName: 'n1', containers: [{ name: 'webapp' }, { name: 'nginx' }] },
    status,
  }) as unknown as Pod;

test('STATUS shows the most important reason', () => {
  const status = (state: object) => [{ name: 'c', image: '', imageID: '', ready: false, restartCount: 0, state }];
  const waiting = { waiting: { reason: 'CrashLoopBackOff' } };
  assert.is(podReason(pod({ phase: 'Running', containerStatuses: status(waiting) })), 'CrashLoopBackOff');
  assert.is(
    podReason(pod({ phase: 'Failed', containerStatuses: status({ terminated: { exitCode: 3 } }) })),
    'ExitCode:3',
  );
  assert.is(podReason(pod({ phase: 'Running' }, { deletionTimestamp: '2026-01-01T00:00:00Z' })), 'Terminating');
  const init = [{ name: 'i', image: '', imageID: '', ready: false, restartCount: 0, state: { running: {} } }];
  const starting = pod({ phase: 'Pending', initContainerStatuses: init });
  starting.spec.initContainers = [{ name: 'i', image: 'x' }];
  assert.is(podReason(starting), 'Init:0/1');
});

test('an object that is not Ready has a reason', () => {
  assert.is(whyNotReady(pod({ phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] })), undefined);
  assert.is(whyNotReady(pod({ phase: 'Pending' })), 'Pending');
  const deployment = {
    kind: 'Deployment',
    metadata: {},
    spec: { replicas: 2 },
    status: { readyReplicas: 1, updatedReplicas: 2 },
  };
  assert.is(whyNotReady(deployment as unknown as KubeObject), '1 of 2 pods are ready');
  assert.is(whyNotReady({ kind: 'ConfigMap' } as KubeObject), undefined);
});

test.run();
