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

const why = (object: object) => whyNotReady({ metadata: { generation: 2 }, ...object } as unknown as KubeObject);

test('a StatefulSet is Ready when all pods are, and are those of its template unless it keeps older ones', () => {
  const set = { kind: 'StatefulSet', spec: { replicas: 3 } };
  assert.is(
    why({ ...set, status: { observedGeneration: 2, readyReplicas: 2, updatedReplicas: 3 } }),
    '2 of 3 pods are ready',
  );
  const old = { observedGeneration: 2, readyReplicas: 3, updatedReplicas: 1 };
  assert.is(why({ ...set, status: old }), '1 of 3 pods are ready');
  assert.is(why({ ...set, spec: { replicas: 3, updateStrategy: { type: 'OnDelete' } }, status: old }), undefined);
  assert.is(why({ ...set, status: { ...old, observedGeneration: 1 } }), 'its controller has not seen it yet');
});

test('a DaemonSet is Ready when each node that it is for has a ready pod', () => {
  const set = { kind: 'DaemonSet', spec: {} };
  assert.is(why(set), 'its controller has not seen it yet');
  const status = { observedGeneration: 2, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberReady: 1 };
  assert.is(why({ ...set, status }), '1 of 2 pods are ready');
  assert.is(why({ ...set, status: { ...status, numberReady: 2 } }), undefined);
});

test('a Job is Ready while its pods run and when it is complete, and never after it failed', () => {
  const job = { kind: 'Job', spec: {} };
  assert.is(why({ ...job, status: { active: 1, ready: 0 } }), '0 pods have succeeded, and none is running');
  assert.is(why({ ...job, status: { active: 1, ready: 1 } }), undefined);
  assert.is(why({ ...job, status: { succeeded: 1, conditions: [{ type: 'Complete', status: 'True' }] } }), undefined);
  const complete = (status: object) => whyNotReady({ ...job, status } as never, undefined, 'complete');
  assert.is(complete({ active: 1, ready: 1 }), '0 pods have succeeded, 1 run', 'with --wait-for-jobs');
  assert.is(complete({ succeeded: 1, conditions: [{ type: 'Complete', status: 'True' }] }), undefined);
  const conditions = [
    { type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded', message: 'it has tried enough' },
  ];
  assert.is(why({ ...job, status: { conditions } }), 'it failed: it has tried enough');
});

test.run();
