/** Answers that were compared with those of kube-apiserver 1.34.4, by kubectl 1.37 against both. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CronJob, Ingress, Job, KubeObject, Manifest, Pod, Status } from '../../../../src/api/types/objects.ts';
import {
  addNode,
  configMap,
  eventually,
  pod,
  refusal,
  request,
  service,
  withCluster,
} from '../../controllers/test-cluster.ts';

const ROOT = '/api/v1/namespaces/default';

test(
  'a JSON patch that does not fit the object is 422; one that is no JSON patch 400',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a', { x: '1' }));
    const patch = async (operations: unknown) => {
      const answer = await request(
        socketPath,
        'PATCH',
        `${ROOT}/configmaps/a`,
        operations as object,
        'application/json-patch+json',
      );
      const { reason, message } = JSON.parse(answer.body) as Status;
      return [
        answer.status,
        reason,
        message?.includes('the server rejected our request due to an error in our request'),
      ];
    };
    const refused = [422, 'Invalid', true];
    assert.equal(await patch([{ op: 'test', path: '/data/x', value: '2' }]), refused);
    assert.equal(await patch([{ op: 'remove', path: '/data/y' }]), refused);
    assert.equal(await patch([{ op: 'replace', path: '/nope/y', value: 1 }]), refused);
    assert.equal(
      (await patch([{ op: 'replace', path: '/metadata/labels', value: { a: 'b' } }]))[0],
      200,
      'it is added',
    );
    assert.equal(await patch({ op: 'test' }), [400, 'BadRequest', false]);
  }),
);

test(
  'an unknown field that is only warned about has the text of a strict decoder',
  withCluster(async ({ client }) => {
    const warnings: string[] = [];
    const odd = { ...configMap('a'), bogus: 1 } as unknown as Manifest<KubeObject>;
    await client.create(odd, { fieldValidation: 'Warn', onWarning: (text) => warnings.push(text) });
    assert.equal(warnings, ['unknown field "bogus"']);
  }),
);

test(
  'defaults: a Job has the labels of its template, an Ingress an empty status, a pod a security context and a scheduler',
  withCluster(async ({ client }) => {
    const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } };
    const job = await client.create({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'j' },
      spec: { template },
    } as Manifest<Job>);
    assert.equal(job.metadata.labels, job.spec.template.metadata?.labels);
    assert.is(job.metadata.labels?.['batch.kubernetes.io/job-name'], 'j');
    const backend = { service: { name: 'web', port: { number: 80 } } };
    const ingress = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata: { name: 'i' },
      spec: { defaultBackend: backend },
    };
    assert.equal((await client.create(ingress as Manifest<Ingress>)).status, { loadBalancer: {} });
    const { spec } = await client.create(pod('p', {}, { volumes: [{ name: 'v' }] }));
    assert.equal(
      [spec.securityContext, spec.schedulerName, spec.volumes],
      [{}, 'default-scheduler', [{ name: 'v', emptyDir: {} }]],
    );
    assert.equal([spec.containers[0]!.resources, spec.enableServiceLinks], [{}, true]);
  }),
);

test(
  'tolerations can be added to a pod, and none taken away',
  withCluster(async ({ client }) => {
    const { spec } = await client.create(pod('p'));
    const more = [...spec.tolerations!, { key: 'gpu', operator: 'Exists' as const }];
    assert.equal((await client.patch('Pod', 'p', { spec: { tolerations: more } })).spec.tolerations, more);
    const longer = more.map((toleration, i) => (i === 0 ? { ...toleration, tolerationSeconds: 600 } : toleration));
    assert.equal((await client.patch('Pod', 'p', { spec: { tolerations: longer } })).spec.tolerations, longer);
    const { message } = await refusal(
      client.patch<'Pod'>('Pod', 'p', { spec: { tolerations: [] } as Partial<Pod['spec']> }),
    );
    assert.match(
      message,
      'spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds',
    );
  }),
);

test(
  'a label selector with parentheses that do not belong there is refused, a set of values is not',
  withCluster(async ({ client }) => {
    await client.create(configMap('a', {}, { x: 'b' }));
    for (const labelSelector of ['x=((', 'x in (a', 'x)', '!!', 'x=a)']) {
      assert.match((await refusal(client.list('ConfigMap', { labelSelector }))).message, 'unable to parse requirement');
    }
    const found = await client.list('ConfigMap', { labelSelector: 'x in (a,b), !y,x notin (c)', namespace: 'default' });
    assert.is(found.items.length, 1);
  }),
);

test(
  'a schedule has numbers or names within their ranges',
  withCluster(async ({ client }) => {
    const create = (name: string, schedule: string) => {
      const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } };
      const spec = { schedule, jobTemplate: { spec: { template } } };
      return client.create({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name }, spec } as Manifest<CronJob>);
    };
    const wrong = [
      'x * * * *',
      '60 * * * *',
      '* 24 * * *',
      '* * 0 * *',
      '* * * foo *',
      '* * * * 7',
      '5-1 * * * *',
      '*/0 * * * *',
    ];
    for (const schedule of wrong)
      assert.match((await refusal(create('a', schedule))).message, 'spec.schedule: Invalid value');
    const right = ['*/5 * * * *', '0,30 1-5/2 ? jan-MAR sun,mon-fri', '@hourly'];
    for (const [i, schedule] of right.entries()) await create(`c${i}`, schedule);
  }),
);

test(
  'a cordoned node has a taint, until it is uncordoned; a pod that tolerates it is placed there',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const taints = async () =>
      (await client.get('Node', 'n1')).spec?.taints?.map(({ key, effect }) => `${key}:${effect}`);
    await client.patch('Node', 'n1', { spec: { unschedulable: true, taints: [{ key: 'a', effect: 'NoSchedule' }] } });
    await eventually(
      async () => (await taints())?.join() === 'a:NoSchedule,node.kubernetes.io/unschedulable:NoSchedule',
    );
    const tolerations = [{ operator: 'Exists' as const }];
    await client.create(pod('tolerant', {}, { tolerations }));
    await eventually(async () => (await client.get('Pod', 'tolerant', 'default')).spec.nodeName);
    await client.patch('Node', 'n1', { spec: { unschedulable: null as unknown as boolean } });
    await eventually(async () => (await taints())?.join() === 'a:NoSchedule');
  }),
);

test(
  'a field selector on a field that a kind does not have is refused, in the text of that kind',
  withCluster(async ({ client }) => {
    await client.create(service('a'));
    const why = async (kind: 'Pod' | 'ConfigMap') =>
      (await refusal(client.list(kind, { fieldSelector: 'spec.foo=x' }))).message;
    assert.match(await why('Pod'), 'field label not supported: spec.foo');
    assert.match(
      await why('ConfigMap'),
      '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
    );
  }),
);

test.run();
