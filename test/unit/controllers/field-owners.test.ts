/** `metadata.managedFields` of what controllers write: who owns what is as in a cluster of Kubernetes' own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FieldSet } from '../../../src/api/ownership/field-set.ts';
import type { Deployment, EventObject, KubeObject } from '../../../src/api/types/objects.ts';
import { addNode, eventually, request, setReady, withCluster } from './test-cluster.ts';

const PATH = '/apis/apps/v1/namespaces/default/deployments';
const container = { name: 'c', image: 'process' };
const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', annotations: { note: 'ours' } },
  spec: {
    replicas: 1,
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [container] } },
  },
};

/** `manager operation[/subresource]: fields`, only those of `wanted` that it has. */
function owners({ metadata }: KubeObject, ...wanted: string[]): string[] {
  const lines = (metadata.managedFields ?? []).map(({ manager, operation, subresource, fieldsV1 }) => {
    const paths = [...FieldSet.decode(fieldsV1).paths()].filter((path) => wanted.includes(path));
    return `${manager} ${operation}${subresource ? `/${subresource}` : ''}: ${paths.join(' ')}`;
  });
  return lines.sort();
}

test(
  'a Deployment belongs to who applied it; status and revision to kube-controller-manager, through the status',
  withCluster(async ({ client, socketPath }) => {
    await addNode(client, 'n1');
    const apply = (body: object) =>
      request(socketPath, 'PATCH', `${PATH}/web?fieldManager=operator`, body, 'application/apply-patch+yaml');
    assert.is((await apply(deployment)).status, 201);
    const seen = ['.spec.replicas', '.metadata.annotations.note', '.status.observedGeneration'];
    const revision = '.metadata.annotations.deployment.kubernetes.io/revision';
    const found = await eventually(async () => {
      const now = await client.get('Deployment', 'web', 'default');
      return now.status?.observedGeneration === 1 && now;
    });
    assert.equal(owners(found, ...seen, revision), [
      'kube-controller-manager Update/status: .metadata.annotations.deployment.kubernetes.io/revision .status.observedGeneration',
      'operator Apply: .metadata.annotations.note .spec.replicas',
    ]);
    // What the controller owns is no obstacle to the next apply, and is not taken by it.
    const again = await apply({ ...deployment, spec: { ...deployment.spec, replicas: 2 } });
    assert.is(again.status, 200, again.body);
    const { metadata } = JSON.parse(again.body) as Deployment;
    assert.is(metadata.annotations!['deployment.kubernetes.io/revision'], '1');
  }),
);

test(
  "a ReplicaSet is its controller's; a pod is its ReplicaSet's and its node's; nobody owns the binding",
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create<Deployment>(deployment as unknown as Deployment);
    const pod = await eventually(async () => (await client.list('Pod')).items.find(({ spec }) => spec.nodeName));
    assert.equal(owners(pod, '.spec.nodeName', '.spec.containers[name="c"].image', '.metadata.ownerReferences'), [
      'kube-controller-manager Update: .metadata.ownerReferences .spec.containers[name="c"].image',
    ]);
    await setReady(client, pod, true);
    const set = await eventually(async () => {
      const [found] = (await client.list('ReplicaSet')).items;
      return found?.status?.readyReplicas === 1 && found;
    });
    assert.equal(owners(set, '.spec.replicas', '.status.readyReplicas'), [
      'kube-controller-manager Update/status: .status.readyReplicas',
      'kube-controller-manager Update: .spec.replicas',
    ]);
  }),
);

test(
  'a pod that cannot be placed says so in a condition of kube-scheduler, and in an event of default-scheduler',
  withCluster(async ({ client }) => {
    await client.create<Deployment>(deployment as unknown as Deployment);
    const pod = await eventually(async () => (await client.list('Pod')).items.find(({ status }) => status?.conditions));
    const condition = '.status.conditions[type="PodScheduled"].reason';
    assert.equal(owners(pod, condition), [
      'kube-controller-manager Update: ',
      `kube-scheduler Update/status: ${condition}`,
    ]);
    const events = (await client.list('Event')).items as EventObject[];
    const sources = events.map(({ reason, source }) => `${reason} ${source?.component}`).sort();
    assert.equal(sources, [
      'FailedScheduling default-scheduler',
      'ScalingReplicaSet deployment-controller',
      'SuccessfulCreate replicaset-controller',
    ]);
  }),
);

test(
  "a write to a custom resource's status leaves its metadata alone",
  withCluster(async ({ socketPath }) => {
    const names = { kind: 'Gadget', plural: 'gadgets', singular: 'gadget', listKind: 'GadgetList' };
    const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
    const version = { name: 'v1', served: true, storage: true, subresources: { status: {} }, schema };
    await request(socketPath, 'POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'gadgets.example.com' },
      spec: { group: 'example.com', scope: 'Namespaced', names, versions: [version] },
    });
    const path = '/apis/example.com/v1/namespaces/default/gadgets';
    const gadget = { apiVersion: 'example.com/v1', kind: 'Gadget', metadata: { name: 'g', labels: { a: '1' } } };
    await request(socketPath, 'POST', path, gadget);
    const put = await request(socketPath, 'PUT', `${path}/g/status?fieldManager=operator`, {
      ...gadget,
      metadata: { name: 'g', labels: { a: '2' }, annotations: { b: '2' } },
      status: { phase: 'Ready' },
    });
    const now = JSON.parse(put.body) as KubeObject & { status?: object };
    assert.equal(now.metadata.labels, { a: '1' });
    assert.is(now.metadata.annotations, undefined);
    assert.equal(now.status, { phase: 'Ready' });
    assert.equal(owners(now, '.metadata.labels.a', '.status.phase'), ['operator Update/status: .status.phase']);
  }),
);

test.run();
