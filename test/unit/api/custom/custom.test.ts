/** Custom resources: definitions, the objects of their kinds, and deletion. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject, Status } from '../../../../src/api/types/objects.ts';
import {
  type Answer,
  eventually,
  getJson,
  request,
  type TestCluster,
  withCluster,
} from '../../controllers/test-cluster.ts';

const gadgetSpec = {
  type: 'object',
  required: ['size'],
  properties: {
    size: { type: 'integer', minimum: 1, maximum: 10 },
    colour: { type: 'string', enum: ['blue', 'green'], default: 'blue' },
    port: { 'x-kubernetes-int-or-string': true },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    parts: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: { type: 'object', properties: { name: { type: 'string' }, count: { type: 'integer', default: 1 } } },
    },
  },
};

const version = (name: string, storage: boolean, spec: object = gadgetSpec) => ({
  name,
  served: true,
  storage,
  schema: {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec,
        status: {
          type: 'object',
          properties: { ready: { type: 'integer' }, selector: { type: 'string' } },
        },
      },
    },
  },
  subresources: {
    status: {},
    scale: {
      specReplicasPath: '.spec.size',
      statusReplicasPath: '.status.ready',
      labelSelectorPath: '.status.selector',
    },
  },
  additionalPrinterColumns: [
    { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
    { name: 'Colour', type: 'string', jsonPath: '.spec.colour', priority: 1 },
  ],
});

const definition = (spec: object = {}) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'gadgets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'gadgets', kind: 'Gadget', shortNames: ['gd'], categories: ['all'] },
    versions: [version('v1', true)],
    ...spec,
  },
});

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const GADGETS = '/apis/example.com/v1/namespaces/default/gadgets';

async function define({ socketPath }: TestCluster, spec: object = {}): Promise<void> {
  const { status, body } = await request(socketPath, 'POST', DEFINITIONS, definition(spec));
  assert.is(status, 201, body);
}

const gadget = (spec: object, metadata: object = {}, apiVersion = 'example.com/v1') => ({
  apiVersion,
  kind: 'Gadget',
  metadata: { name: 'a', ...metadata },
  spec,
});

const create = ({ socketPath }: TestCluster, object: object, query = ''): Promise<Answer> =>
  request(socketPath, 'POST', GADGETS + query, object);

test(
  'a definition is established at once, and its kind is served: discovery, OpenAPI, lists',
  withCluster(async (cluster) => {
    const { socketPath } = cluster;
    assert.is((await request(socketPath, 'GET', GADGETS)).status, 404);
    await define(cluster);
    const made = await getJson<{
      status: { conditions: { type: string; status: string }[]; storedVersions: string[] };
    }>(socketPath, `${DEFINITIONS}/gadgets.example.com`);
    const isTrue = made.status.conditions.filter(({ status }) => status === 'True').map(({ type }) => type);
    assert.equal(isTrue, ['NamesAccepted', 'Established']);
    assert.equal(made.status.storedVersions, ['v1']);
    assert.is((await getJson<{ kind: string }>(socketPath, GADGETS)).kind, 'GadgetList');
    const { resources } = await getJson<{ resources: { name: string }[] }>(socketPath, '/apis/example.com/v1');
    assert.equal(resources.map(({ name }) => name).sort(), ['gadgets', 'gadgets/scale', 'gadgets/status']);
    const v3 = await getJson<{ components: { schemas: Record<string, unknown> } }>(
      socketPath,
      '/openapi/v3/apis/example.com/v1',
    );
    assert.equal(
      JSON.parse(JSON.stringify(v3.components.schemas['com.example.v1.Gadget']))['x-kubernetes-group-version-kind'],
      [{ group: 'example.com', kind: 'Gadget', version: 'v1' }],
    );
    const v2 = await getJson<{ definitions: Record<string, unknown> }>(socketPath, '/openapi/v2');
    assert.ok(v2.definitions['com.example.v1.GadgetList']);
  }),
);

test(
  'objects are pruned, defaulted and validated by their schema',
  withCluster(async (cluster) => {
    await define(cluster);
    const made = await create(
      cluster,
      gadget({ size: 3, port: 'http', free: { any: [1] }, odd: 1, parts: [{ name: 'p' }] }),
    );
    assert.is(made.status, 201);
    assert.match(String(made.headers.warning), 'unknown field \\"spec.odd\\"');
    assert.equal((JSON.parse(made.body) as { spec: unknown }).spec, {
      size: 3,
      colour: 'blue',
      port: 'http',
      free: { any: [1] },
      parts: [{ name: 'p', count: 1 }],
    });
    const rows: [object, RegExp][] = [
      [{}, /spec\.size: Required value/],
      [{ size: 'x' }, /spec\.size: Invalid value: "string": spec\.size in body must be of type integer: "string"/],
      [{ size: 0 }, /spec\.size: Invalid value: 0: spec\.size in body should be greater than or equal to 1/],
      [{ size: 1, colour: 'red' }, /spec\.colour: Unsupported value: "red": supported values: "blue", "green"/],
      [{ size: 1, port: [] }, /spec\.port: Invalid value: "array"/],
    ];
    for (const [spec, words] of rows) {
      const { status, body } = await create(cluster, gadget(spec, { name: 'b' }));
      assert.is(status, 422);
      assert.match((JSON.parse(body) as Status).message!, words);
    }
    const strict = await create(cluster, gadget({ size: 1, odd: 1 }, { name: 'b' }), '?fieldValidation=Strict');
    assert.match((JSON.parse(strict.body) as Status).message!, 'spec.odd: unknown field');
    const named = await create(cluster, gadget({ size: 1 }, { name: 'B_' }));
    assert.match((JSON.parse(named.body) as Status).message!, /^Gadget\.example\.com "B_" is invalid: metadata\.name/);
  }),
);

test(
  'status and scale are subresources; a Table has the columns of the definition',
  withCluster(async (cluster) => {
    const { socketPath } = cluster;
    await define(cluster);
    await create(cluster, { ...gadget({ size: 3 }), status: { ready: 9 } });
    assert.is((await getJson<{ status?: unknown }>(socketPath, `${GADGETS}/a`)).status, undefined);
    const merge = 'application/merge-patch+json';
    await request(socketPath, 'PATCH', `${GADGETS}/a/status`, { status: { ready: 2 }, spec: { size: 9 } }, merge);
    const scale = await getJson<{ spec: object; status: object }>(socketPath, `${GADGETS}/a/scale`);
    assert.equal([scale.spec, scale.status], [{ replicas: 3 }, { replicas: 2 }]);
    await request(socketPath, 'PATCH', `${GADGETS}/a/scale`, { spec: { replicas: 5 } }, merge);
    const now = await getJson<{ spec: { size: number }; metadata: { generation: number } }>(socketPath, `${GADGETS}/a`);
    assert.equal([now.spec.size, now.metadata.generation], [5, 2]);
    interface Table {
      columnDefinitions: { name: string; priority: number }[];
      rows: { cells: unknown[] }[];
    }
    const table = await getJson<Table>(socketPath, GADGETS, 'application/json;as=Table;v=v1;g=meta.k8s.io');
    assert.equal(
      table.columnDefinitions.map(({ name, priority }) => `${name} ${priority}`),
      ['Name 0', 'Size 0', 'Colour 1'],
    );
    assert.equal(table.rows[0]!.cells, ['a', 5, 'blue']);
  }),
);

test(
  'several versions: one object, returned in the requested version',
  withCluster(async (cluster) => {
    const { client, socketPath } = cluster;
    await define(cluster, { versions: [version('v1beta1', false), version('v1', true)] });
    const beta = GADGETS.replace('/v1/', '/v1beta1/');
    const old = gadget({ size: 1 }, {}, 'example.com/v1beta1');
    assert.is((await create(cluster, old)).status, 400, 'not at the URL of another version');
    assert.is((await request(socketPath, 'POST', beta, old)).status, 201);
    assert.is((await getJson<KubeObject>(socketPath, `${GADGETS}/a`)).apiVersion, 'example.com/v1');
    assert.is((await getJson<KubeObject>(socketPath, `${beta}/a`)).apiVersion, 'example.com/v1beta1');
    const list = await getJson<{ apiVersion: string; items: KubeObject[] }>(socketPath, beta);
    assert.equal([list.apiVersion, list.items[0]!.apiVersion], ['example.com/v1beta1', 'example.com/v1beta1']);
    const patch = await request(
      socketPath,
      'PATCH',
      `${beta}/a`,
      { spec: { size: 2 } },
      'application/merge-patch+json',
    );
    assert.is((JSON.parse(patch.body) as KubeObject).apiVersion, 'example.com/v1beta1');
    const watched = await request(socketPath, 'GET', `${beta}?watch&timeoutSeconds=1`);
    assert.is(JSON.parse(watched.body.split('\n')[0]!).object.apiVersion, 'example.com/v1beta1');
    await client.patch('CustomResourceDefinition', 'gadgets.example.com', {
      spec: { versions: [{ ...version('v1beta1', false), served: false }, version('v1', true)] },
    });
    assert.is((await request(socketPath, 'GET', beta)).status, 404, 'no longer served');
    assert.is((await request(socketPath, 'GET', GADGETS)).status, 200);
  }),
);

test(
  'patches: merge patch and apply follow the schema; strategic merge patch is refused with 415',
  withCluster(async (cluster) => {
    const { socketPath } = cluster;
    await define(cluster);
    const apply = (manager: string, spec: object) =>
      request(
        socketPath,
        'PATCH',
        `${GADGETS}/a?fieldManager=${manager}`,
        gadget(spec),
        'application/apply-patch+yaml',
      );
    assert.is((await apply('one', { size: 1, parts: [{ name: 'x' }] })).status, 201);
    const both = JSON.parse((await apply('two', { size: 1, parts: [{ name: 'y' }] })).body) as {
      spec: { parts: { name: string }[] };
    };
    assert.equal(both.spec.parts.map(({ name }) => name).sort(), ['x', 'y']);
    const strategic = 'application/strategic-merge-patch+json';
    assert.is((await request(socketPath, 'PATCH', `${GADGETS}/a`, { spec: { size: 2 } }, strategic)).status, 415);
  }),
);

test(
  'deleting a definition deletes its objects, and then its kind is gone; deleting a namespace deletes the objects in it',
  withCluster(async (cluster) => {
    const { client, socketPath } = cluster;
    await define(cluster);
    await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } });
    const inTeam = GADGETS.replace('default', 'team');
    await request(socketPath, 'POST', inTeam, gadget({ size: 1 }));
    await client.delete('Namespace', 'team');
    await eventually(async () => (await client.find('Namespace', 'team')) === undefined);
    await create(cluster, gadget({ size: 1 }, { finalizers: ['example.com/hold'] }));
    await request(socketPath, 'DELETE', `${DEFINITIONS}/gadgets.example.com`);
    const waiting = await getJson<KubeObject>(socketPath, `${GADGETS}/a`);
    assert.ok(waiting.metadata.deletionTimestamp);
    assert.is((await request(socketPath, 'GET', `${DEFINITIONS}/gadgets.example.com`)).status, 200);
    await request(
      socketPath,
      'PATCH',
      `${GADGETS}/a`,
      { metadata: { finalizers: null } },
      'application/merge-patch+json',
    );
    await eventually(
      async () => (await request(socketPath, 'GET', `${DEFINITIONS}/gadgets.example.com`)).status === 404,
    );
    assert.is((await request(socketPath, 'GET', GADGETS)).status, 404);
  }),
);

test(
  'custom objects and their kinds survive a restart, and a custom kind may have the name of a built-in one',
  withCluster(async (cluster) => {
    const { socketPath, client } = cluster;
    const names = { plural: 'services', kind: 'Service' };
    const other = {
      ...definition({ names, group: 'serving.example.com' }),
      metadata: { name: 'services.serving.example.com' },
    };
    assert.is((await request(socketPath, 'POST', DEFINITIONS, other)).status, 201);
    const path = '/apis/serving.example.com/v1/namespaces/default/services';
    const service = { ...gadget({ size: 1 }, {}, 'serving.example.com/v1'), kind: 'Service' };
    assert.is((await request(socketPath, 'POST', path, service)).status, 201);
    assert.is(
      (await client.list('Service', { namespace: 'default' })).items.length,
      0,
      'not among those of Kubernetes',
    );
    await cluster.restart();
    await eventually(async () => (await getJson<{ items: unknown[] }>(socketPath, path)).items.length === 1);
  }),
);

test(
  'invalid definitions are refused',
  withCluster(async ({ socketPath }) => {
    const rows: [object, RegExp][] = [
      [
        { group: 'other.example.com' },
        /metadata\.name: Invalid value: "gadgets\.example\.com": must be spec\.names\.plural/,
      ],
      [{ versions: [version('v1', false)] }, /must have exactly one version marked as storage version/],
      [{ versions: [version('v1', true), version('v1', false)] }, /must contain unique version names/],
      [{ versions: [{ name: 'v1', served: true, storage: true }] }, /schemas are required/],
      [{ versions: [version('v1', true, { properties: {} })] }, /spec\]\.type: Required value: must not be empty/],
      [{ versions: [version('v1', true, { type: 'array' })] }, /items: Required value: must be specified/],
      [{ conversion: { strategy: 'Webhook' } }, /strategy: Unsupported value: "Webhook": supported values: "None"/],
    ];
    for (const [spec, words] of rows) {
      const { status, body } = await request(socketPath, 'POST', DEFINITIONS, definition(spec));
      assert.is(status, 422, body);
      assert.match((JSON.parse(body) as Status).message!, words);
    }
  }),
);

test.run();
