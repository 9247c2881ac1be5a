/** Discovery and OpenAPI, as kubectl and client generators read them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { messageType } from '../../../../src/api/protobuf/root.ts';
import { getJson, request, withCluster } from '../../controllers/test-cluster.ts';

type Json = Record<string, unknown>;

const at = (value: unknown, ...path: (string | number)[]): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<string | number, unknown> | undefined)?.[key], value);

test(
  'OpenAPI v3: an index, and a document per group and version with the types it refers to',
  withCluster(async ({ socketPath }) => {
    const index = await getJson<{ paths: Record<string, { serverRelativeURL: string }> }>(socketPath, '/openapi/v3');
    const { serverRelativeURL } = index.paths['apis/apps/v1']!;
    assert.match(serverRelativeURL, /^\/openapi\/v3\/apis\/apps\/v1\?hash=/);
    const document = await getJson<Json>(socketPath, serverRelativeURL);
    const schemas = at(document, 'components', 'schemas') as Json;
    const deployment = schemas['io.k8s.api.apps.v1.Deployment'];
    assert.equal(at(deployment, 'x-kubernetes-group-version-kind'), [
      { group: 'apps', kind: 'Deployment', version: 'v1' },
    ]);
    assert.ok(at(deployment, 'properties', 'apiVersion'));
    const containers = at(schemas, 'io.k8s.api.core.v1.PodSpec', 'properties', 'containers');
    assert.is(at(containers, 'x-kubernetes-patch-merge-key'), 'name');
    assert.is(at(containers, 'x-kubernetes-patch-strategy'), 'merge');
    assert.equal(at(containers, 'x-kubernetes-list-map-keys'), ['name']);
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g);
    for (const [, name] of references) assert.ok(schemas[name!], name);
    assert.is((await request(socketPath, 'GET', '/openapi/v3/apis/nothing/v1')).status, 404);
  }),
);

test(
  'OpenAPI v3: patch has the parameter fieldValidation; without it kubectl would validate on its side',
  withCluster(async ({ socketPath }) => {
    const document = await getJson<Json>(socketPath, '/openapi/v3/api/v1');
    const patch = at(document, 'paths', '/api/v1/namespaces/{namespace}/pods/{name}', 'patch');
    assert.equal(at(patch, 'x-kubernetes-group-version-kind'), { group: '', kind: 'Pod', version: 'v1' });
    const names = (at(patch, 'parameters') as { name: string }[]).map(({ name }) => name);
    for (const name of ['fieldValidation', 'dryRun', 'fieldManager', 'force']) assert.ok(names.includes(name), name);
    const operations = Object.values(document.paths as Json).flatMap((item) => Object.values(item as Json));
    const ids = operations.map((operation) => at(operation, 'operationId')).filter(Boolean);
    assert.is(new Set(ids).size, ids.length, 'operationIds are unique');
  }),
);

test(
  'OpenAPI v2: JSON, and the protobuf that kubectl requests, with the same contents',
  withCluster(async ({ socketPath }) => {
    const json = await getJson<Json>(socketPath, '/openapi/v2');
    assert.is(json.swagger, '2.0');
    const wanted = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
    const answer = await request(socketPath, 'GET', '/openapi/v2', undefined, undefined, wanted);
    assert.not.match(answer.headers['content-type']!, '@');
    const type = messageType('openapi.v2.Document');
    const document = type.toObject(type.decode(answer.bytes)) as Json;
    const definitions = at(document, 'definitions', 'additional_properties') as { name: string; value: unknown }[];
    assert.equal(definitions.map(({ name }) => name).sort(), Object.keys(json.definitions as Json).sort());
    const pod = definitions.find(({ name }) => name === 'io.k8s.api.core.v1.Pod')!.value;
    const extension = (at(pod, 'vendor_extension') as { name: string; value: { yaml: string } }[])[0]!;
    assert.is(extension.name, 'x-kubernetes-group-version-kind');
    assert.equal(JSON.parse(extension.value.yaml), [{ group: '', kind: 'Pod', version: 'v1' }]);
    const paths = at(document, 'paths', 'path') as { name: string }[];
    assert.equal(paths.map(({ name }) => name).sort(), Object.keys(json.paths as Json).sort());
  }),
);

test(
  'aggregated discovery: two documents for everything, in both versions',
  withCluster(async ({ socketPath }) => {
    for (const version of ['v2', 'v2beta1']) {
      const accept = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList,application/json`;
      const answer = await request(socketPath, 'GET', '/apis', undefined, undefined, accept);
      assert.match(answer.headers['content-type']!, `v=${version};as=APIGroupDiscoveryList`);
      const { items } = JSON.parse(answer.body) as { items: { metadata: { name: string }; versions: Json[] }[] };
      const apps = items.find(({ metadata }) => metadata.name === 'apps')!;
      const deployments = (at(apps, 'versions', 0, 'resources') as Json[]).find((r) => r.resource === 'deployments')!;
      assert.equal(deployments.categories, ['all']);
      assert.is(deployments.scope, 'Namespaced');
      const scale = (deployments.subresources as Json[]).find((s) => s.subresource === 'scale')!;
      assert.equal(scale.responseKind, { group: 'autoscaling', version: 'v1', kind: 'Scale' });
    }
    assert.is((await getJson<Json>(socketPath, '/apis')).kind, 'APIGroupList');
  }),
);

test(
  'an unknown path is 404 for every method; a known path with a wrong method is 405',
  withCluster(async ({ socketPath }) => {
    const rows: [string, string, number][] = [
      ['POST', '/nowhere', 404],
      ['POST', '/apis/none.example/v1/things', 404],
      ['GET', '/api/v1/namespaces/default/pods/a/nothing', 404],
      ['POST', '/version', 405],
      ['POST', '/api/v1/pods', 405],
      ['DELETE', '/api/v1/namespaces/default/pods/a/status', 405],
      ['PUT', '/api/v1/namespaces/default/pods', 405],
    ];
    for (const [method, path, code] of rows) {
      const { status, body } = await request(socketPath, method, path, method === 'GET' ? undefined : {});
      assert.is(status, code, `${method} ${path}`);
      if (code === 404) assert.type(JSON.parse(body).details, 'object', 'kubectl reads the details');
    }
  }),
);

test(
  'a named type of a list of strings is published as a list',
  withCluster(async ({ socketPath }) => {
    const document = await getJson<Json>(socketPath, '/openapi/v3/apis/certificates.k8s.io/v1');
    const published = at(document, 'components', 'schemas', 'io.k8s.api.certificates.v1.ExtraValue') as Json;
    assert.is(published.type, 'array');
    assert.equal(published.items, { type: 'string' });
    assert.is(published.properties, undefined);
  }),
);

test(
  'health checks list what was checked if asked to',
  withCluster(async ({ socketPath }) => {
    for (const path of ['/readyz', '/livez?exclude=ping', '/healthz']) {
      assert.is((await request(socketPath, 'GET', path)).body, 'ok');
    }
    for (const query of ['verbose', 'verbose=1', 'exclude=etcd&verbose']) {
      const { body } = await request(socketPath, 'GET', `/readyz?${query}`);
      assert.is(body, '[+]ping ok\n[+]store ok\nreadyz check passed\n');
    }
  }),
);

test.run();
