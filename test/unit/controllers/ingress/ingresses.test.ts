import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Ingress, KubeObject, Manifest, Secret } from '../../../../src/api/types/objects.ts';
import { defaultPair } from '../../../../src/controllers/ingress/tls.ts';
import { testUnless } from '../../../lib/test-unless.ts';
import {
  addNode,
  eventually,
  pod,
  refusal,
  runPod,
  service,
  setReady,
  type TestCluster,
  withCluster,
} from '../test-cluster.ts';

type Client = TestCluster['client'];

// The first certificate loads a package, which takes seconds on a busy machine.
await defaultPair(Date.now());

/** Any file that is there: these tests start no nginx. */
const THERE = { ingresses: { nginx: process.execPath } };
const OURS = 'ingress-nginx';

const ingress = (name: string, spec: Ingress['spec'], annotations?: Record<string, string>) =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name, ...(annotations && { annotations }) },
    spec,
  }) as Manifest<Ingress>;

const rules = (host: string, name = 'web', path = '/') => [
  {
    host,
    http: { paths: [{ path, pathType: 'Prefix' as const, backend: { service: { name, port: { number: 80 } } } }] },
  },
];

const filesOf = (secret: Secret) =>
  Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64').toString()]),
  );
const configOf = async (client: Client): Promise<Record<string, string>> =>
  filesOf(await client.get('Secret', 'ingress-nginx-config', OURS));
const configWith = (client: Client, part: string) =>
  eventually(async () => {
    const files = await configOf(client);
    if (files['nginx.conf']!.includes(part)) return files;
    throw new Error(files['nginx.conf']);
  });
const eventOf = (client: Client, name: string, reason: string) =>
  eventually(async () => {
    const { items } = await client.list('Event', { namespace: 'default' });
    return items.find((event) => event.involvedObject.name === name && event.reason === reason)?.message;
  });

test(
  'the first Ingress brings nginx, its Service and a configuration; the last one takes nginx away',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    assert.is(await client.find('Deployment', 'ingress-nginx-controller', OURS), undefined);
    const made = await client.create(ingress('web', { rules: rules('a.com') }));
    assert.is(made.spec?.ingressClassName, 'nginx', 'the default class');
    const deployment = await eventually(() => client.find('Deployment', 'ingress-nginx-controller', OURS));
    assert.is(deployment.spec.template.spec.containers[0]!.image, 'nginx');
    const { spec } = await client.get('Service', 'ingress-nginx-controller', OURS);
    assert.is(spec.type, 'NodePort');
    assert.is(await eventOf(client, 'web', 'Rejected'), 'service "default/web" was not found');
    await configWith(client, 'location "/" { return 503; }');
    await client.delete('Ingress', 'web', { namespace: 'default' });
    await eventually(async () => (await client.find('Deployment', 'ingress-nginx-controller', OURS)) === undefined);
    assert.ok(await client.find('Service', 'ingress-nginx-controller', OURS), 'its ports stay');
  }, THERE),
);

test(
  'the configuration follows Services and their endpoints, and every pod is told by an annotation',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    const { spec } = await client.create(
      service('web', { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] }),
    );
    await client.create(
      service('direct', { selector: { app: 'web' }, clusterIP: 'None', ports: [{ port: 80, targetPort: 8080 }] }),
    );
    await client.create(ingress('web', { rules: [...rules('a.com'), ...rules('b.com', 'direct')] }));
    await configWith(client, 'location "/" { return 503; }');
    const nginx = await eventually(async () => {
      const { items } = await client.list('Pod', { namespace: OURS });
      return items.find((each) => each.spec.nodeName !== undefined);
    });
    const version = async () =>
      (await client.get('Pod', nginx.metadata.name, OURS)).metadata.annotations?.['dataplane.dev/ingress-config'];
    const before = await eventually(version);
    const backend = await runPod(client, pod('p', { app: 'web' }));
    const files = await configWith(client, `server ${spec.clusterIP}:80;`);
    assert.match(files['nginx.conf']!, `server ${backend.status!.podIP}:8080;`);
    await eventually(async () => (await version()) !== before);
  }, THERE),
);

test(
  'the status has the address of the node where nginx is ready, that of a load balancer if there is one',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.patchStatus('Node', 'n1', undefined, { addresses: [{ type: 'InternalIP', address: '172.18.0.11' }] });
    await client.create(ingress('web', { rules: rules('a.com') }));
    const nginx = await eventually(async () => {
      const { items } = await client.list('Pod', { namespace: OURS });
      return items.find((each) => each.metadata.annotations?.['dataplane.dev/pod-ip'] !== undefined);
    });
    await setReady(client, nginx, true);
    const address = async () =>
      (await client.get('Ingress', 'web', 'default')).status?.loadBalancer?.ingress?.map(({ ip }) => ip).join();
    await eventually(async () => (await address()) === '172.18.0.11');
  }, THERE),
);

test(
  'a load-balancer pool gives nginx an address of its own',
  withCluster(
    async ({ client }) => {
      await client.create(ingress('web', { rules: rules('a.com') }));
      const found = await eventually(async () => {
        return (await client.get('Ingress', 'web', 'default')).status?.loadBalancer?.ingress?.[0]?.ip;
      });
      assert.is(found, '172.18.0.200');
      assert.is((await client.get('Service', 'ingress-nginx-controller', OURS)).spec.type, 'LoadBalancer');
    },
    { ...THERE, options: { loadBalancerPool: ['172.18.0.200-172.18.0.210'] } },
  ),
);

test(
  'a TLS Secret is used once it is there and its key fits; until then there is the default certificate',
  withCluster(async ({ client }) => {
    const spec = { rules: rules('a.com'), tls: [{ hosts: ['a.com'], secretName: 'cert' }] };
    await client.create(ingress('web', spec));
    await eventOf(client, 'web', 'Rejected');
    const before = await configWith(client, 'ssl_certificate /etc/nginx/ingress/default.crt;');
    assert.match(before['default.crt']!, 'BEGIN CERTIFICATE');
    const [own, other] = [await defaultPair(Date.now()), await defaultPair(Date.now())];
    const secret = (certificate: string, key: string) =>
      ({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'cert' },
        type: 'kubernetes.io/tls',
        data: {
          'tls.crt': Buffer.from(certificate).toString('base64'),
          'tls.key': Buffer.from(key).toString('base64'),
        },
      }) as Manifest<KubeObject>;
    await client.create(secret(own.certificate, other.key));
    await eventually(async () => {
      const { items } = await client.list('Event', { namespace: 'default' });
      return items.some(({ message }) => message?.includes('tls.key is not the key of tls.crt'));
    });
    await client.patch(
      'Secret',
      'cert',
      { data: (secret(own.certificate, own.key) as unknown as Secret).data },
      { namespace: 'default' },
    );
    const files = await configWith(client, 'ssl_certificate /etc/nginx/ingress/default-cert.crt;');
    assert.is(files['default-cert.key'], own.key);
    assert.match(files['nginx.conf']!, 'return 308 https://$host$request_uri;');
  }, THERE),
);

test(
  'without nginx on the machine an event says what to install; Ingresses of other classes are left alone',
  withCluster(
    async ({ client }) => {
      await client.create(ingress('web', { rules: rules('a.com') }));
      assert.match(await eventOf(client, 'web', 'NginxMissing'), 'apt-get install nginx');
      await client.create(ingress('other', { ingressClassName: 'traefik', rules: rules('a.com') }));
      const { items } = await client.list('Event', { namespace: 'default' });
      assert.not.ok(items.some(({ involvedObject }) => involvedObject.name === 'other'));
      assert.is(await client.find('Deployment', 'ingress-nginx-controller', OURS), undefined);
    },
    { ingresses: { nginx: '/nonexistent/nginx' } },
  ),
);

test(
  'Ingresses that cannot be are refused',
  withCluster(async ({ client }) => {
    const why = async (spec: Ingress['spec']) => (await refusal(client.create(ingress('x', spec)))).message;
    assert.match(await why({}), 'either `defaultBackend` or `rules` must be specified');
    assert.match(await why({ rules: rules('A.com') }), 'a lowercase RFC 1123 subdomain');
    assert.match(await why({ rules: rules('a.com', 'web', 'x') }), 'must be an absolute path');
    assert.match(await why({ rules: rules('a.com', 'web', '/a//b') }), "must not contain '//'");
    assert.match(await why({ defaultBackend: { service: { name: 'x' } } }), 'port name or number is required');
    assert.match(await why({ defaultBackend: {} }), 'resource or service backend is required');
  }),
);

const NGINX = '/usr/sbin/nginx';
testUnless(existsSync(NGINX) ? undefined : `there is no ${NGINX}`)(
  'nginx itself accepts the configuration',
  withCluster(async ({ client }) => {
    await addNode(client, 'n1');
    await client.create(service('web', { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] }));
    await runPod(client, pod('p', { app: 'web' }));
    const rewrite = { 'nginx.ingress.kubernetes.io/rewrite-target': '/$2' };
    const paths = [
      {
        path: '/api(/|$)(.*)',
        pathType: 'ImplementationSpecific' as const,
        backend: rules('')[0]!.http.paths[0]!.backend,
      },
    ];
    await client.create(ingress('api', { rules: [{ host: 'a.com', http: { paths } }] }, rewrite));
    await client.create(
      ingress('web', {
        rules: [...rules('*.b.com'), ...rules('c.com', 'web', '/x')],
        tls: [{ hosts: ['c.com'], secretName: 'none' }],
      }),
    );
    const files = await configWith(client, 'rewrite "(?i)/api(/|$)(.*)" "/$2" break;');
    const directory = mkdtempSync(join(tmpdir(), 'dataplane-nginx-'));
    try {
      mkdirSync(join(directory, 'logs'));
      for (const [name, text] of Object.entries(files)) {
        const local = text
          .replaceAll('/etc/nginx/ingress', directory)
          .replace('/run/nginx-ingress.pid', join(directory, 'pid'))
          .replace('user nginx;', '')
          .replace(/\/dev\/std(err|out)/g, join(directory, 'logs/log'));
        writeFileSync(join(directory, name), local);
      }
      const ran = spawnSync(NGINX, ['-t', '-c', join(directory, 'nginx.conf'), '-p', directory], { encoding: 'utf8' });
      assert.is(ran.status, 0, ran.stderr);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, THERE),
);

test.run();
