/** Lists: order, pagination, versions, and the forms that clients accept. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApiClient } from '../../../../src/api/client/client.ts';
import { configMap, getJson, pod, request, withCluster } from '../../controllers/test-cluster.ts';

interface List {
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  items: { metadata: { name: string; namespace: string } }[];
}

const PATH = '/api/v1/namespaces/default/configmaps';
const names = ({ items }: List) => items.map(({ metadata }) => metadata.name).join('');

async function fill(client: ApiClient, letters: string): Promise<void> {
  for (const letter of letters) await client.create(configMap(letter));
}

test(
  'lists are in the order of namespace and name, not of creation',
  withCluster(async ({ client, socketPath }) => {
    await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } });
    await fill(client, 'cab');
    await client.create({ ...configMap('z'), metadata: { name: 'z', namespace: 'a' } });
    assert.is(names(await getJson<List>(socketPath, PATH)), 'abc');
    const { items } = await getJson<List>(socketPath, '/api/v1/configmaps');
    const keys = items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
    assert.equal(keys, [...keys].sort());
    assert.is(keys[0], 'a/z');
  }),
);

test(
  'all pages of a list show one version, whatever is written meanwhile',
  withCluster(async ({ client, socketPath }) => {
    await fill(client, 'abcde');
    const first = await getJson<List>(socketPath, `${PATH}?limit=2`);
    assert.is(names(first), 'ab');
    assert.is(first.metadata.remainingItemCount, 3);
    await client.delete('ConfigMap', 'c');
    await client.create(configMap('bb'));
    await client.patch('ConfigMap', 'd', { data: { k: 'new' } });
    const rest = (list: List) => `${PATH}?limit=2&continue=${encodeURIComponent(list.metadata.continue!)}`;
    const second = await getJson<List>(socketPath, rest(first));
    assert.is(names(second), 'cd');
    assert.equal((second.items[1] as { data?: unknown }).data, {}, 'as it was');
    const third = await getJson<List>(socketPath, rest(second));
    assert.is(names(third), 'e');
    assert.is(third.metadata.continue, undefined);
    assert.is(third.metadata.resourceVersion, first.metadata.resourceVersion);
  }),
);

test(
  'a page requested too late gets 410, with a token for the rest at the current version',
  withCluster(async ({ client, socketPath }) => {
    await fill(client, 'abc');
    const first = await getJson<List>(socketPath, `${PATH}?limit=1`);
    // More than the 16 MiB of changes that the event log keeps.
    for (let i = 0; i < 20; i++) await client.patch('ConfigMap', 'c', { data: { k: `${i}`.padEnd(1_000_000, 'x') } });
    const rest = `${PATH}?continue=${first.metadata.continue}`;
    const { status, body } = await request(socketPath, 'GET', rest);
    assert.is(status, 410);
    const refusal = JSON.parse(body) as { reason: string; metadata: { continue: string } };
    assert.is(refusal.reason, 'Expired');
    assert.is(names(await getJson<List>(socketPath, `${PATH}?continue=${refusal.metadata.continue}`)), 'bc');
  }),
);

test(
  'resourceVersionMatch=Exact lists that version; otherwise the list is at least as new as the given version',
  withCluster(async ({ client, socketPath }) => {
    await fill(client, 'ab');
    const { metadata } = await getJson<List>(socketPath, PATH);
    await client.delete('ConfigMap', 'a');
    const exact = `${PATH}?resourceVersionMatch=Exact&resourceVersion=${metadata.resourceVersion}`;
    assert.is(names(await getJson<List>(socketPath, exact)), 'ab');
    assert.is(names(await getJson<List>(socketPath, `${PATH}?resourceVersion=${metadata.resourceVersion}`)), 'b');
    const { status, headers, body } = await request(socketPath, 'GET', `${PATH}?resourceVersion=999999`);
    assert.is(status, 504);
    assert.is(headers['retry-after'], '1');
    const { message, details } = JSON.parse(body) as { message: string; details: { causes: { reason: string }[] } };
    assert.match(message, /^Too large resource version: 999999, current: \d+$/);
    assert.is(details.causes[0]!.reason, 'ResourceVersionTooLarge');
  }),
);

test(
  'invalid query parameters are refused, and nothing is written',
  withCluster(async ({ client, socketPath }) => {
    const rows: [string, string, number, RegExp][] = [
      ['POST', '?dryRun=foo', 422, /dryRun: Unsupported value: \["foo"\]: supported values: "All"/],
      ['POST', '?fieldValidation=Loose', 422, /fieldValidation: Unsupported value: "Loose"/],
      ['POST', `?fieldManager=${'x'.repeat(129)}`, 422, /fieldManager: Too long/],
      ['GET', '?continue=rubbish', 400, /continue key is not valid/],
      ['GET', '?limit=many', 400, /limit: expected an integer/],
      ['GET', '?resourceVersion=new', 400, /invalid resource version: "new"/],
      ['GET', '?resourceVersionMatch=Exact', 422, /resourceVersionMatch is forbidden unless resourceVersion/],
      ['GET', '?resourceVersionMatch=Exact&resourceVersion=0', 422, /"Exact" is forbidden for resourceVersion "0"/],
      ['GET', '?resourceVersionMatch=Loose&resourceVersion=1', 422, /Unsupported value: "Loose"/],
      ['GET', '?sendInitialEvents=true', 422, /sendInitialEvents is forbidden for list/],
      ['GET', '?watch&resourceVersionMatch=NotOlderThan', 422, /forbidden for watch unless sendInitialEvents/],
      ['GET', '?watch&sendInitialEvents=true', 422, /requires setting resourceVersionMatch to NotOlderThan/],
      ['GET', '?includeObject=All', 400, /unrecognized includeObject value: "All"/],
      ['DELETE', '?propagationPolicy=Sideways', 422, /propagationPolicy: Unsupported value: "Sideways"/],
      ['DELETE', '?propagationPolicy=Orphan&orphanDependents=true', 422, /cannot be both set/],
    ];
    for (const [method, query, code, words] of rows) {
      const { status, body } = await request(socketPath, method, PATH + query, method === 'POST' ? configMap('a') : '');
      assert.is(status, code, query);
      assert.match((JSON.parse(body) as { message: string }).message, words);
    }
    assert.is((await client.list('ConfigMap', { namespace: 'default' })).items.length, 0);
  }),
);

test(
  'a Table has the columns of the kind, and a row per object with its metadata',
  withCluster(async ({ client, socketPath }) => {
    await client.create(pod('a'));
    const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
    interface Table {
      kind: string;
      columnDefinitions: { name: string; priority: number; format: string }[];
      rows: { cells: unknown[]; object?: { kind: string; spec?: unknown } }[];
    }
    const path = '/api/v1/namespaces/default/pods';
    const table = await getJson<Table>(socketPath, path, accept);
    assert.is(table.kind, 'Table');
    const shown = table.columnDefinitions.filter(({ priority }) => priority === 0).map(({ name }) => name);
    assert.equal(shown, ['Name', 'Ready', 'Status', 'Restarts', 'Age']);
    assert.equal(table.rows[0]!.cells.slice(0, 4), ['a', '0/1', 'Pending', '0']);
    assert.is(table.rows[0]!.object!.kind, 'PartialObjectMetadata');
    assert.is((await getJson<Table>(socketPath, `${path}/a`, accept)).rows.length, 1);
    assert.is((await getJson<Table>(socketPath, `${path}?includeObject=None`, accept)).rows[0]!.object, undefined);
    assert.ok((await getJson<Table>(socketPath, `${path}?includeObject=Object`, accept)).rows[0]!.object!.spec);
  }),
);

test(
  'PartialObjectMetadata and its list; a form that is not supported is 406 and writes nothing',
  withCluster(async ({ client, socketPath }) => {
    await client.create(configMap('a', { k: 'v' }));
    const as = (form: string) => `application/json;as=${form};v=v1;g=meta.k8s.io`;
    const one = await getJson<Record<string, unknown>>(socketPath, `${PATH}/a`, as('PartialObjectMetadata'));
    assert.equal(Object.keys(one).sort(), ['apiVersion', 'kind', 'metadata']);
    const list = await getJson<{ kind: string }>(socketPath, PATH, as('PartialObjectMetadataList'));
    assert.is(list.kind, 'PartialObjectMetadataList');
    assert.is((await request(socketPath, 'GET', PATH, undefined, undefined, 'text/html')).status, 406);
    assert.is((await request(socketPath, 'POST', PATH, configMap('b'), undefined, as('Nonsense'))).status, 406);
    assert.is(await client.find('ConfigMap', 'b', 'default'), undefined);
  }),
);

test(
  'field selectors of a custom kind may name the selectable fields of its definition, and no others',
  withCluster(async ({ socketPath }) => {
    const definition = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'gadgets.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'gadgets', kind: 'Gadget' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            selectableFields: [{ jsonPath: '.spec.colour' }],
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        ],
      },
    };
    const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    assert.is((await request(socketPath, 'POST', crds, definition)).status, 201);
    const path = '/apis/example.com/v1/namespaces/default/gadgets';
    for (const [name, colour] of [
      ['a', 'red'],
      ['b', 'blue'],
      ['c', undefined],
    ] as const) {
      const gadget = { apiVersion: 'example.com/v1', kind: 'Gadget', metadata: { name }, spec: { colour } };
      assert.is((await request(socketPath, 'POST', path, gadget)).status, 201);
    }
    const found = async (selector: string) =>
      names(await getJson<List>(socketPath, `${path}?fieldSelector=${encodeURIComponent(selector)}`));
    assert.is(await found('spec.colour=red'), 'a');
    assert.is(await found('spec.colour!=red'), 'bc');
    assert.is(await found('spec.colour='), 'c');
    assert.is(await found('metadata.name=b'), 'b');
    const { status, body } = await request(socketPath, 'GET', `${path}?fieldSelector=spec.size%3D1`);
    assert.is(status, 400);
    assert.match(body, /field label not supported: spec.size/);
  }),
);

test.run();
