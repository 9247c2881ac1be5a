/** What the agent keeps of the cluster's pods is all that policies need (src/compile/policies/policy-objects.ts). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Pod, WellKnown } from '../../../src/api/types/objects.ts';
import { addressedPod, policyAddressOf, policyPartOf } from '../../../src/compile/policies/policy-objects.ts';

const whole = (spec: object = {}, status: object = {}, annotations?: Record<string, string>): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'web',
      namespace: 'shop',
      uid: 'u1',
      resourceVersion: '7',
      labels: { app: 'web', tier: 'front' },
      annotations: { note: 'x'.repeat(1000), ...annotations },
      managedFields: [{ manager: 'kubectl' }],
    },
    spec: {
      nodeName: 'n1',
      containers: [
        { name: 'main', image: 'nginx', ports: [{ name: 'http', containerPort: 8080 }, { containerPort: 9090 }] },
        { name: 'side', image: 'log', env: [{ name: 'A', value: 'b' }] },
        { name: 'dns', image: 'dns', ports: [{ name: 'dns', containerPort: 53, protocol: 'UDP' }] },
      ],
      ...spec,
    },
    status: { phase: 'Running', podIP: '10.244.1.7', conditions: [{ type: 'Ready', status: 'True' }], ...status },
  }) as unknown as Pod;

const CASES: Readonly<Record<string, Pod>> = {
  'a pod that runs': whole(),
  'a pod that has its address before its agent reports it': whole(
    {},
    { podIP: undefined },
    { [WellKnown.POD_IP]: '10.244.1.9' },
  ),
  "a pod on the host's network": whole({ hostNetwork: true }),
  'a pod that has ended': whole({}, { phase: 'Succeeded' }),
  'a pod without an address': whole({}, { phase: 'Pending', podIP: undefined }),
};

for (const [name, pod] of Object.entries(CASES)) {
  test(`${name}: policies read the same from its part`, () => {
    const part = policyPartOf(pod);
    assert.equal(addressedPod(part), addressedPod(pod));
    assert.is(policyAddressOf(part), policyAddressOf(pod));
    // What informers go by.
    const { name: own, namespace, uid, resourceVersion } = pod.metadata;
    const { metadata } = part;
    assert.equal(
      [metadata.name, metadata.namespace, metadata.uid, metadata.resourceVersion],
      [own, namespace, uid, resourceVersion],
    );
  });
}

test('the part is a fraction of a pod', () => {
  const size = (pod: Pod) => JSON.stringify(pod).length;
  assert.ok(size(policyPartOf(whole())) < size(whole()) / 3);
});

test.run();
