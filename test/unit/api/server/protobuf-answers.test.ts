/** Answers in protobuf, to clients that prefer or accept only that. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeBody, PROTOBUF } from '../../../../src/api/protobuf/envelope.ts';
import { messageType } from '../../../../src/api/protobuf/root.ts';
import type { KubeObject } from '../../../../src/api/types/objects.ts';
import { eventually, getJson, request, type TestCluster, withCluster } from '../../controllers/test-cluster.ts';

const META = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const LABEL = { group: 'a b' };

/** One object of each special form: numbers and names of ports, quantities, times, bytes, schemas, JSON in JSON. */
const OBJECTS: [string, object][] = [
  [
    '/api/v1/namespaces/default/pods',
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'a', annotations: LABEL, labels: { 'a/b': 'c' }, finalizers: ['a.example/b'] },
      spec: {
        nodeName: 'n1',
        hostNetwork: false,
        terminationGracePeriodSeconds: 0,
        volumes: [
          { name: 'v', emptyDir: { sizeLimit: '1Gi' } },
          { name: 'w', emptyDir: {} },
        ],
        containers: [
          {
            name: 'c',
            image: 'x',
            args: ['', 'é€😀'],
            ports: [{ name: 'http', containerPort: 80 }],
            resources: { requests: { cpu: '100m', memory: '64Mi' } },
            readinessProbe: { httpGet: { path: '/', port: 'http' } },
            livenessProbe: { tcpSocket: { port: 80 } },
            env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
            securityContext: { runAsUser: 0, capabilities: { add: ['NET_ADMIN'] } },
          },
        ],
      },
    },
  ],
  [
    '/api/v1/namespaces/default/secrets',
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, type: 'Opaque', data: { k: 'AP8=' } },
  ],
  [
    '/apis/apps/v1/namespaces/default/deployments',
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'd' },
      spec: {
        replicas: 0,
        strategy: { rollingUpdate: { maxSurge: '25%', maxUnavailable: 1 } },
        selector: { matchLabels: { app: 'd' }, matchExpressions: [{ key: 'x', operator: 'In', values: ['y'] }] },
        template: { metadata: { labels: { app: 'd', x: 'y' } }, spec: { containers: [{ name: 'c', image: 'x' }] } },
      },
    },
  ],
  [
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
    {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'gadgets.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'gadgets', singular: 'gadget', kind: 'Gadget', listKind: 'GadgetList' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: 'object',
                properties: {
                  spec: {
                    type: 'object',
                    properties: {
                      size: { type: 'integer', default: 3, enum: [1, 3], 'x-kubernetes-int-or-string': false },
                      names: { type: 'array', items: { type: 'string', pattern: '^a' } },
                      more: { type: 'object', additionalProperties: { type: 'string' } },
                    },
                  },
                },
              },
            },
          },
        ],
      },
    },
  ],
  [
    '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers',
    {
      apiVersion: 'autoscaling/v1',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'h' },
      spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd' }, maxReplicas: 3 },
    },
  ],
];

const create = async (cluster: TestCluster) => {
  for (const [path, object] of OBJECTS) {
    const { status, body } = await request(cluster.socketPath, 'POST', path, object);
    assert.is(status, 201, body);
  }
};

const get = (cluster: TestCluster, path: string, accept = PROTOBUF) =>
  request(cluster.socketPath, 'GET', path, undefined, undefined, accept);

/** Without what protobuf does not distinguish from an absent field: `false` and empty lists. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, v]) => !(v === false || (Array.isArray(v) && v.length === 0)));
  return Object.fromEntries(entries.map(([key, v]) => [key, withoutEmpty(v)]));
}

test(
  'objects and lists have the same content in protobuf as in JSON',
  withCluster(async (cluster) => {
    await create(cluster);
    for (const [path, { metadata }] of OBJECTS as [string, KubeObject][]) {
      await eventually(async () => {
        const one = await get(cluster, `${path}/${metadata.name}`);
        assert.is(one.status, 200);
        assert.is(one.headers['content-type'], PROTOBUF);
        const json = await getJson(cluster.socketPath, `${path}/${metadata.name}`);
        assert.equal(withoutEmpty(decodeBody(one.bytes)), withoutEmpty(json), path);
        return true;
      });
      // Again if a controller has written something between the two lists.
      await eventually(async () => {
        const all = decodeBody((await get(cluster, path)).bytes) as { kind: string; items: object[]; metadata: object };
        const json = await getJson<typeof all>(cluster.socketPath, path);
        assert.is(all.kind, json.kind);
        assert.equal(all.metadata, json.metadata);
        // In a list, items have no kind of their own.
        const items = json.items.map(({ apiVersion: _a, kind: _k, ...rest }: Partial<KubeObject>) => rest);
        assert.equal(withoutEmpty(all.items), withoutEmpty(items), path);
        return true;
      });
    }
  }),
);

test(
  'pages of a list and collections that were deleted are lists in protobuf, too',
  withCluster(async (cluster) => {
    const path = '/api/v1/namespaces/default/configmaps';
    for (let i = 0; i < 450; i++) {
      const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `m${i}`, labels: { x: 'y' } } };
      await request(cluster.socketPath, 'POST', path, object);
    }
    const all = decodeBody((await get(cluster, `${path}?labelSelector=x`)).bytes) as { items: KubeObject[] };
    assert.is(new Set(all.items.map(({ metadata }) => metadata.name)).size, 450);
    const page = decodeBody((await get(cluster, `${path}?limit=2`)).bytes) as {
      metadata: { continue: string; remainingItemCount: number };
      items: object[];
    };
    assert.is(page.items.length, 2);
    assert.is(page.metadata.remainingItemCount, 448);
    const next = await get(cluster, `${path}?limit=2&continue=${encodeURIComponent(page.metadata.continue)}`);
    assert.is((decodeBody(next.bytes) as { items: object[] }).items.length, 2);
    const gone = await request(cluster.socketPath, 'DELETE', `${path}?labelSelector=x`, undefined, undefined, PROTOBUF);
    assert.is((decodeBody(gone.bytes) as { items: object[] }).items.length, 450);
  }),
);

/** Events of a watch as they arrive: a length of four bytes, then a WatchEvent with the object's body. */
function watchFrames(
  cluster: TestCluster,
  path: string,
  accept = PROTOBUF,
): { events: { type: string; object: unknown }[]; head: Promise<IncomingMessage>; end: () => void } {
  const events: { type: string; object: unknown }[] = [];
  let buffer = Buffer.alloc(0);
  const asked = httpRequest({ socketPath: cluster.socketPath, path, headers: { accept } });
  const head = new Promise<IncomingMessage>((resolve) => asked.on('response', resolve));
  void head.then((response) =>
    response.on('data', (chunk: Buffer) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE()) {
        const length = buffer.readUInt32BE();
        const event = messageType(`${META}.WatchEvent`).decode(buffer.subarray(4, 4 + length)) as unknown as {
          type: string;
          object: { raw: Uint8Array };
        };
        events.push({ type: event.type, object: decodeBody(Buffer.from(event.object.raw)) });
        buffer = buffer.subarray(4 + length);
      }
    }),
  );
  asked.end();
  return { events, head, end: () => asked.destroy() };
}

test(
  'a watch sends frames; every watch of the same object gets its own form',
  withCluster(async (cluster) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const map = (k: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k } });
    await request(cluster.socketPath, 'POST', path, map('1'));
    const query = 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const watches = [watchFrames(cluster, `${path}?${query}`), watchFrames(cluster, `${path}?${query}`)];
    for (const { head } of watches) assert.is((await head).headers['content-type'], `${PROTOBUF};stream=watch`);
    await eventually(() => watches.every(({ events }) => events.some(({ type }) => type === 'BOOKMARK')));
    await request(cluster.socketPath, 'PUT', `${path}/a`, map('2'));
    await request(cluster.socketPath, 'DELETE', `${path}/a`);
    for (const { events, end } of watches) {
      const own = await eventually(() => {
        const mine = events.filter(({ object }) => (object as KubeObject).metadata.name === 'a');
        return mine.length === 3 && mine;
      });
      const data = own.map(({ type, object }) => [type, (object as { data: object }).data]);
      assert.equal(data, [
        ['ADDED', { k: '1' }],
        ['MODIFIED', { k: '2' }],
        ['DELETED', { k: '2' }],
      ]);
      const mark = events.find(({ type }) => type === 'BOOKMARK')!.object as KubeObject;
      assert.is(mark.metadata.annotations!['k8s.io/initial-events-end'], 'true');
      assert.is(mark.kind, 'ConfigMap');
      end();
    }
  }),
);

test(
  'watches of metadata alone get the same object in the version of PartialObjectMetadata that each of them accepts',
  withCluster(async (cluster) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const versions = ['v1', 'v1beta1'];
    const watches = versions.map((v) => {
      const partial = `${PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=${v}`;
      return watchFrames(cluster, `${path}?watch=1`, partial);
    });
    for (const { head } of watches) await head;
    await request(cluster.socketPath, 'POST', path, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } });
    for (const [i, { events, end }] of watches.entries()) {
      const object = await eventually(() => {
        const found = events.find(({ object }) => (object as KubeObject).metadata.name === 'a');
        return found && (found.object as KubeObject);
      });
      end();
      assert.is(object.apiVersion, `meta.k8s.io/${versions[i]}`);
      assert.is(object.kind, 'PartialObjectMetadata');
    }
  }),
);

test(
  'a watch from a version that is no longer known sends an ERROR frame with a Status',
  withCluster(async (cluster) => {
    const path = '/api/v1/namespaces/default/configmaps';
    const { metadata } = await getJson<{ metadata: { resourceVersion: string } }>(cluster.socketPath, path);
    const map = (k: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { k } });
    await request(cluster.socketPath, 'POST', path, map(''));
    // More than the 16 MiB of changes that the event log keeps.
    for (let i = 0; i < 20; i++) await request(cluster.socketPath, 'PUT', `${path}/a`, map(`${i}`.padEnd(1_000_000)));
    const { events, end } = watchFrames(cluster, `${path}?watch=1&resourceVersion=${metadata.resourceVersion}`);
    const [{ type, object }] = await eventually(() => events.length > 0 && (events as [(typeof events)[0]]));
    end();
    assert.is(type, 'ERROR');
    assert.is((object as { code: number; reason: string }).code, 410);
    assert.is((object as { code: number; reason: string }).reason, 'Expired');
  }),
);

test(
  'the first acceptable type of the highest quality is sent; tables and custom resources are never protobuf',
  withCluster(async (cluster) => {
    await create(cluster);
    const gadgets = '/apis/example.com/v1/namespaces/default/gadgets';
    await eventually(async () => (await get(cluster, gadgets, 'application/json')).status === 200);
    const table = 'application/json;as=Table;g=meta.k8s.io;v=v1';
    const pods = '/api/v1/namespaces/default/pods';
    const rows: [string, string, string | number][] = [
      [pods, `${PROTOBUF},application/json`, PROTOBUF],
      [pods, `application/json,${PROTOBUF}`, 'application/json'],
      [pods, `application/json;q=0.5,${PROTOBUF}`, PROTOBUF],
      [pods, `${PROTOBUF};q=0.5,*/*`, 'application/json'],
      [pods, '*/*', 'application/json'],
      [pods, `${table},${PROTOBUF}`, 'application/json'],
      [pods, `${PROTOBUF};as=Table;g=meta.k8s.io;v=v1`, 406],
      [pods, `${PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json`, 'application/json'],
      [gadgets, PROTOBUF, 406],
      [gadgets, `${PROTOBUF},application/json`, 'application/json'],
    ];
    for (const [path, accept, expected] of rows) {
      const { status, headers } = await get(cluster, path, accept);
      assert.is(status === 200 ? headers['content-type'] : status, expected, accept);
    }
  }),
);

test(
  'metadata alone, Scale, Status and reviews are sent in protobuf',
  withCluster(async (cluster) => {
    await create(cluster);
    const partial = `${PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
    const deployments = '/apis/apps/v1/namespaces/default/deployments';
    const list = decodeBody((await get(cluster, deployments, partial)).bytes) as { kind: string; items: KubeObject[] };
    assert.is(list.kind, 'PartialObjectMetadataList');
    assert.equal(Object.keys(list.items[0]!), ['metadata']);
    assert.is(list.items[0]!.metadata.name, 'd');
    const scale = decodeBody((await get(cluster, `${deployments}/d/scale`)).bytes) as { spec: object; kind: string };
    assert.is(scale.kind, 'Scale');
    const missing = await get(cluster, `${deployments}/none`);
    assert.is(missing.status, 404);
    assert.is((decodeBody(missing.bytes) as { reason: string }).reason, 'NotFound');
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { verb: 'get', resource: 'pods' } },
    };
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const { bytes } = await request(cluster.socketPath, 'POST', path, review, 'application/json', PROTOBUF);
    assert.is((decodeBody(bytes) as { status: { allowed: boolean } }).status.allowed, true);
  }),
);

test.run();
