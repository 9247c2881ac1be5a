import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Container, Pod } from '../../../../src/api/types/objects.ts';
import { containerLimits, hasResources, oomScore, podLimits } from '../../../../src/runtime/container/resources.ts';

const container = (resources?: Container['resources']): Container => ({
  name: 'c',
  image: 'i',
  ...(resources && { resources }),
});
const pod = (...containers: Container[]): Pod => ({ spec: { containers } }) as unknown as Pod;
const GI = 2 ** 30;

test('a container’s limits; zero is none', () => {
  const limits = containerLimits(container({ limits: { cpu: '1500m', memory: '1Gi' }, requests: { cpu: '0.25' } }));
  assert.equal(limits, { memoryBytes: GI, cpuMillis: 1500, cpuShares: 256, endsAsOne: true });
  const none = containerLimits(container({ limits: { cpu: '0', memory: 0 } }));
  assert.equal([none.memoryBytes, none.cpuMillis, none.cpuShares], [undefined, undefined, 2]);
});

test('a pod is limited only where each of its containers is', () => {
  const both = container({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1' } });
  assert.equal(podLimits(pod(both, both)), {
    memoryBytes: 2 * GI,
    cpuMillis: 2000,
    cpuShares: 2048,
    processes: 4096,
  });
  const free = podLimits(pod(both, container({ limits: { cpu: '1' } })));
  assert.equal([free.memoryBytes, free.cpuMillis], [undefined, 2000]);
});

test('oom_score_adj by quality of service, as kubelet computes it', () => {
  const full = container({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } });
  const some = container({ requests: { memory: '1Gi' } });
  const none = container();
  assert.is(oomScore(pod(full), full, 4 * GI), -997);
  assert.is(oomScore(pod(none), none, 4 * GI), 1000);
  assert.is(oomScore(pod(some), some, 4 * GI), 750);
  assert.is(oomScore(pod(some, none), none, 4 * GI), 999);
  assert.is(oomScore(pod(some), some, GI), 3);
});

test('resources that need no control group need no warning', () => {
  assert.not.ok(hasResources(pod(container({ limits: { 'ephemeral-storage': '1Gi' } }))));
  assert.ok(hasResources(pod(container({ requests: { cpu: '1m' } }))));
});

test.run();
