/** Server-side apply: field ownership, and what an apply changes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiError } from '../../../../src/api/errors.ts';
import { FieldSet } from '../../../../src/api/ownership/field-set.ts';
import { shapeOfType } from '../../../../src/api/ownership/shape.ts';
import { compare, fieldsOf, merge } from '../../../../src/api/ownership/typed.ts';
import type { ConfigMap, Deployment, KubeObject, Service, Status } from '../../../../src/api/types/objects.ts';
import { type Answer, request, type TestCluster, withCluster } from '../../controllers/test-cluster.ts';

const PATHS: Record<string, string> = {
  ConfigMap: '/api/v1/namespaces/default/configmaps',
  Service: '/api/v1/namespaces/default/services',
  Deployment: '/apis/apps/v1/namespaces/default/deployments',
};

function applyAs(cluster: TestCluster, manager: string, object: object, query: string = ''): Promise<Answer> {
  const { kind, metadata } = object as KubeObject;
  const path = `${PATHS[kind]}/${metadata.name}?fieldManager=${manager}${query}`;
  return request(cluster.socketPath, 'PATCH', path, object, 'application/apply-patch+yaml');
}

/** Applies and returns the object. Throws Error with the message of the Status if it is refused. */
async function applied<T>(cluster: TestCluster, manager: string, object: object, query: string = ''): Promise<T> {
  const { status, body } = await applyAs(cluster, manager, object, query);
  if (status >= 300) throw new Error((JSON.parse(body) as ApiError).message);
  return JSON.parse(body) as T;
}

const map = (data: Record<string, string> | undefined, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'a', ...metadata },
  ...(data && { data }),
});

const deployment = (container: object, spec: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web' },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'x', ...container }] } },
    ...spec,
  },
});

/** `manager operation[/subresource]: fields` of every entry. */
function owners({ metadata }: KubeObject): string[] {
  const lines = (metadata.managedFields ?? []).map(({ manager, operation, subresource, fieldsV1 }) => {
    const paths = [...FieldSet.decode(fieldsV1).paths()].join(' ');
    return `${manager} ${operation}${subresource ? `/${subresource}` : ''}: ${paths}`;
  });
  return lines.sort(); // The entries are stored in order of time.
}

test(
  'apply creates the object; a field that the manager no longer applies is removed, others keep theirs',
  withCluster(async (cluster) => {
    const { status, body } = await applyAs(cluster, 'one', map({ a: '1', b: '1' }));
    assert.is(status, 201);
    assert.equal(owners(JSON.parse(body) as KubeObject), ['one Apply: .data.a .data.b']);
    await applied(cluster, 'two', map({ c: '2' }));
    const left = await applied<ConfigMap>(cluster, 'one', map({ a: '1' }));
    assert.equal(left.data, { a: '1', c: '2' });
    assert.equal(owners(left), ['one Apply: .data.a', 'two Apply: .data.c']);
    const none = await applied<ConfigMap>(cluster, 'one', map(undefined));
    assert.equal(none.data, { c: '2' });
    assert.equal(owners(none), ['two Apply: .data.c']);
  }),
);

test(
  'a different value for a field of another manager is a conflict that names it; force takes it over; an equal value is shared',
  withCluster(async (cluster) => {
    await applied(cluster, 'one', map({ a: '1', b: '1' }));
    const shared = await applied<ConfigMap>(cluster, 'two', map({ a: '1' }));
    assert.equal(owners(shared), ['one Apply: .data.a .data.b', 'two Apply: .data.a']);
    const refused = await applyAs(cluster, 'three', map({ a: '3', b: '3' }));
    assert.is(refused.status, 409);
    const { message, reason, details } = JSON.parse(refused.body) as Status;
    assert.is(reason, 'Conflict');
    assert.is(
      message,
      'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\nconflicts with "two":\n- .data.a',
    );
    assert.equal(details!.causes![0], {
      reason: 'FieldManagerConflict',
      message: 'conflict with "one"',
      field: '.data.a',
    });
    const forced = await applied<ConfigMap>(cluster, 'three', map({ a: '3' }), '&force=true');
    assert.equal(forced.data, { a: '3', b: '1' });
    assert.equal(owners(forced), ['one Apply: .data.b', 'three Apply: .data.a']);
  }),
);

test(
  'a field with two owners stays when one of them stops applying it',
  withCluster(async (cluster) => {
    await applied(cluster, 'one', map({ a: '1' }));
    await applied(cluster, 'two', map({ a: '1' }));
    assert.equal((await applied<ConfigMap>(cluster, 'one', map(undefined))).data, { a: '1' });
    assert.is((await applied<ConfigMap>(cluster, 'two', map(undefined))).data, undefined);
  }),
);

test(
  'other writes own the fields they change, by fieldManager or else by the name of the program',
  withCluster(async (cluster) => {
    const { client, socketPath } = cluster;
    const path = `${PATHS.ConfigMap}?fieldManager=maker`;
    const made = await request(socketPath, 'POST', path, map({ a: '1' }, { labels: { l: '1' } }));
    assert.equal(owners(JSON.parse(made.body) as KubeObject), [
      'maker Update: .data .data.a .metadata.labels .metadata.labels.l',
    ]);
    const patch = { data: { a: '2', b: '2' } };
    const merge = 'application/merge-patch+json';
    await request(socketPath, 'PATCH', `${PATHS.ConfigMap}/a?fieldManager=other`, patch, merge);
    const now = await client.get('ConfigMap', 'a', 'default');
    assert.equal(owners(now), [
      'maker Update: .data .metadata.labels .metadata.labels.l',
      'other Update: .data.a .data.b',
    ]);
    const conflict = await applyAs(cluster, 'applier', map({ a: '3' }));
    const { message } = JSON.parse(conflict.body) as Status;
    assert.is(message, 'Apply failed with 1 conflict: conflict with "other" using v1: .data.a');
    const { resourceVersion } = now.metadata;
    const again = await request(socketPath, 'PATCH', `${PATHS.ConfigMap}/a?fieldManager=other`, patch, merge);
    assert.is((JSON.parse(again.body) as KubeObject).metadata.resourceVersion, resourceVersion, 'no change, no write');
  }),
);

test(
  'lists of objects merge by their keys, and an item that is no longer applied is removed',
  withCluster(async (cluster) => {
    const service = (...ports: object[]) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      spec: { ports },
    });
    const tcp = { name: 'tcp', port: 53, protocol: 'TCP' };
    const udp = { name: 'udp', port: 53, protocol: 'UDP' };
    await applied(cluster, 'one', service(tcp, udp));
    await applied(cluster, 'two', service({ name: 'web', port: 80 }));
    const left = await applied<Service>(cluster, 'one', service(udp));
    assert.equal(
      left.spec.ports!.map(({ name }) => name),
      ['udp', 'web'],
    );
    assert.ok(owners(left)[1]!.includes('.spec.ports[port=80,protocol="TCP"].name'));
  }),
);

test(
  'scale owns the replicas it sets: applying another number needs force, an apply without replicas keeps them',
  withCluster(async (cluster) => {
    await applied(cluster, 'one', deployment({}, { replicas: 2 }));
    const scale = `${PATHS.Deployment}/web/scale?fieldManager=scaler`;
    await request(cluster.socketPath, 'PATCH', scale, { spec: { replicas: 5 } }, 'application/merge-patch+json');
    const refused = await applyAs(cluster, 'one', deployment({}, { replicas: 2 }));
    const { message } = JSON.parse(refused.body) as Status;
    assert.match(message!, /conflict with "scaler" with subresource "scale" using apps\/v1: \.spec\.replicas$/);
    const kept = await applied<Deployment>(cluster, 'one', deployment({}));
    assert.is(kept.spec.replicas, 5);
  }),
);

test(
  'an apply without changes writes nothing; an apply of the status owns only the status',
  withCluster(async (cluster) => {
    const first = await applied<ConfigMap>(cluster, 'one', map({ a: '1' }));
    const second = await applied<ConfigMap>(cluster, 'one', map({ a: '1' }));
    assert.is(second.metadata.resourceVersion, first.metadata.resourceVersion);
    await applied(cluster, 'one', deployment({}, { replicas: 0 }));
    const status = { conditions: [{ type: 'Odd', status: 'True' }] };
    const path = `${PATHS.Deployment}/web/status?fieldManager=watcher`;
    const body = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' }, status };
    const answer = await request(cluster.socketPath, 'PATCH', path, body, 'application/apply-patch+yaml');
    assert.is(answer.status, 200);
    const mine = owners(JSON.parse(answer.body) as KubeObject).find((line) => line.startsWith('watcher'))!;
    assert.match(mine, /^watcher Apply\/status: \.status\.conditions/);
    assert.not.match(mine, '.spec');
  }),
);

test(
  'apply is refused without a field manager, with managedFields in its body, and with a uid that does not exist',
  withCluster(async (cluster) => {
    const type = 'application/apply-patch+yaml';
    const path = `${PATHS.ConfigMap}/a`;
    assert.is((await request(cluster.socketPath, 'PATCH', path, map({}), type)).status, 422);
    const own = map({}, { managedFields: [{ manager: 'x' }] });
    assert.is((await applyAs(cluster, 'one', own)).status, 400);
    assert.is((await applyAs(cluster, 'one', map({}, { uid: 'x' }))).status, 409);
    const patch = await request(cluster.socketPath, 'PATCH', `${path}?force=true`, {}, 'application/merge-patch+json');
    assert.is(patch.status, 422);
  }),
);

test(
  'managedFields in an update replace the stored ones; a single empty entry clears them',
  withCluster(async (cluster) => {
    const { socketPath } = cluster;
    const made = await applied<ConfigMap>(cluster, 'one', map({ a: '1' }));
    const put = (metadata: object) =>
      request(socketPath, 'PUT', `${PATHS.ConfigMap}/a?fieldManager=two`, {
        ...made,
        metadata: { ...metadata, name: 'a' },
      });
    const renamed = made.metadata.managedFields!.map((entry) => ({ ...entry, manager: 'renamed' }));
    assert.equal(owners(JSON.parse((await put({ managedFields: renamed })).body) as KubeObject), [
      'renamed Apply: .data.a',
    ]);
    assert.equal(owners(JSON.parse((await put({ managedFields: [{}] })).body) as KubeObject), []);
  }),
);

const POD = shapeOfType('k8s.io.api.core.v1.Pod');

test('field sets encode to FieldsV1 and back; selectors and lists without keys are one field each', () => {
  const pod = {
    spec: {
      containers: [{ name: 'c', args: ['a', 'b'], ports: [{ containerPort: 80 }] }],
      tolerations: [{ key: 'k' }],
      nodeSelector: { a: 'b' },
    },
  };
  const set = fieldsOf(pod, POD);
  assert.equal([...set.paths()].sort(), [
    '.spec.containers[name="c"]',
    '.spec.containers[name="c"].args',
    '.spec.containers[name="c"].name',
    '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]',
    '.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort',
    '.spec.nodeSelector',
    '.spec.tolerations',
  ]);
  assert.equal(FieldSet.decode(set.encode()).encode(), set.encode());
});

test('a merged list has the order of the configuration; items of others stay behind the one they followed', () => {
  const containers = (...names: string[]) => ({ spec: { containers: names.map((name) => ({ name })) } });
  const merged = merge(containers('a', 'x', 'b'), containers('b', 'a'), POD) as ReturnType<typeof containers>;
  assert.equal(
    merged.spec.containers.map(({ name }) => name),
    ['b', 'a', 'x'],
  );
});

test('a comparison reports changed fields, added ones with everything below them, and removed ones', () => {
  const old = { metadata: { labels: { a: '1' } }, spec: { containers: [{ name: 'c', image: 'x' }] } };
  const next = { metadata: { annotations: { b: '1' } }, spec: { containers: [{ name: 'c', image: 'y' }] } };
  const { written, removed } = compare(old, next, POD);
  assert.equal([...written.paths()].sort(), [
    '.metadata.annotations',
    '.metadata.annotations.b',
    '.spec.containers[name="c"].image',
  ]);
  assert.equal([...removed.paths()].sort(), ['.metadata.labels', '.metadata.labels.a']);
});

test.run();
