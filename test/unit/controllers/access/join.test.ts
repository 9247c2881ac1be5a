/** Machines that join by a bootstrap token: what they get, what they may do, and whom the cluster refuses. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { newToken } from '../../../../src/api/access/bootstrap-tokens.ts';
import { ApiClient } from '../../../../src/api/client/client.ts';
import { serverOfKubeconfig } from '../../../../src/api/client/kubeconfig.ts';
import { ApiError } from '../../../../src/api/errors.ts';
import type {
  CertificateSigningRequest,
  Lease,
  Manifest,
  NodeObject,
  Secret,
} from '../../../../src/api/types/objects.ts';
import { authorityHash, readClusterInfo } from '../../../../src/cluster/join/discovery.ts';
import { joinCluster } from '../../../../src/cluster/join/join.ts';
import { newKey, requestCertificate } from '../../../../src/controllers/access/certificate-request.ts';
import type { ControllerOptions } from '../../../../src/controllers/controller.ts';
import { eventually, pod, type TestCluster, withCluster } from '../test-cluster.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-join-'));
test.after(() => rmSync(directory, { recursive: true }));

const reached = (authorization: 'open' | 'rbac' = 'rbac'): Partial<ControllerOptions> => ({
  access: { authorization, listen: { host: '127.0.0.1', port: 0 } },
});

interface Invitation {
  url: string;
  token: string;
  authorityHash: string;
}

async function invite(
  { client }: TestCluster,
  expiresInMs = 60_000,
  more: Record<string, string> = {},
): Promise<Invitation> {
  const { data = {} } = await eventually(() => client.find('ConfigMap', 'cluster-info', 'kube-public'));
  const { server, authorities } = readClusterInfo(data.kubeconfig as string);
  const { id, secret } = newToken();
  const texts = {
    'token-id': id,
    'token-secret': secret,
    expiration: new Date(Date.now() + expiresInMs).toISOString(),
    'usage-bootstrap-authentication': 'true',
    ...more,
  };
  await client.create<Secret>({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    data: Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
  });
  return { url: server, token: `${id}.${secret}`, authorityHash: authorityHash(authorities[0] as string) };
}

let files = 0;
const newFile = (): string => join(directory, `${++files}`, 'kubeconfig');

async function joined(cluster: TestCluster, node: string): Promise<ApiClient> {
  const kubeconfig = newFile();
  await joinCluster({ ...(await invite(cluster)), node, kubeconfig });
  return new ApiClient(serverOfKubeconfig(kubeconfig));
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    const { message, advice } = error as Error & { advice?: string };
    return advice === undefined ? message : `${message}: ${advice}`;
  }
  throw new Error('it was not refused');
}

const nodeObject = (name: string): Pick<NodeObject, 'apiVersion' | 'kind'> & { metadata: { name: string } } => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
});

const lease = (name: string): Manifest<Lease> => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name, namespace: 'kube-node-lease' },
  spec: {},
});

const allowed = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    (error: unknown) => {
      if (error instanceof ApiError && error.code === 403) return false;
      throw error;
    },
  );

for (const authorization of ['open', 'rbac'] as const) {
  test(
    `${authorization}: a machine gets a kubeconfig that only root reads, and may do what an agent does`,
    withCluster(async (cluster) => {
      const kubeconfig = newFile();
      await joinCluster({ ...(await invite(cluster)), node: 'm1', kubeconfig });
      assert.is(statSync(kubeconfig).mode & 0o777, 0o600);
      const client = new ApiClient(serverOfKubeconfig(kubeconfig));
      assert.is(await allowed(client.create(nodeObject('m1'))), true);
      await client.patchStatus('Node', 'm1', undefined, { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] });
      for (const kind of ['Service', 'EndpointSlice', 'Pod', 'Node', 'NetworkPolicy', 'ConfigMap', 'Secret'] as const) {
        assert.is(await allowed(client.list(kind)), true, kind);
      }
      assert.is(await allowed(client.create(lease('m1'))), true);
      client.close();
    }, reached(authorization)),
  );

  test(
    `${authorization}: a node changes nothing of other nodes`,
    withCluster(async (cluster) => {
      const client = await joined(cluster, 'm1');
      await client.create(nodeObject('m1'));
      await cluster.client.create(nodeObject('m2'));
      for (const node of ['m1', 'm2']) await cluster.client.create(pod(`on-${node}`, {}, { nodeName: node }));
      const may = {
        node: allowed(client.create(nodeObject('m3'))),
        lease: allowed(client.create(lease('m2'))),
        labels: allowed(client.patch('Node', 'm2', { metadata: { labels: { a: 'b' } } })),
        status: allowed(client.patchStatus('Pod', 'on-m2', 'default', { message: 'x' })),
        deletion: allowed(client.delete('Pod', 'on-m2', { namespace: 'default', gracePeriodSeconds: 0 })),
        secret: allowed(client.delete('Secret', 'any', { namespace: 'kube-system' })),
        service: allowed(client.delete('Service', 'any', { namespace: 'default' })),
        logs: allowed(client.raw('/api/v1/namespaces/default/pods/on-m2/log')),
      };
      for (const [what, result] of Object.entries(may)) assert.is(await result, false, what);
      assert.is(await allowed(client.patchStatus('Pod', 'on-m1', 'default', { message: 'x' })), true);
      assert.is(await allowed(client.delete('Pod', 'on-m1', { namespace: 'default', gracePeriodSeconds: 0 })), true);
      client.close();
    }, reached(authorization)),
  );

  test(
    `${authorization}: a token is good for asking for a certificate, and for nothing else`,
    withCluster(async (cluster) => {
      const { url, token } = await invite(cluster);
      const { serverOf } = await import('../../../../src/api/client/api-server.ts');
      const client = new ApiClient(serverOf(url, { insecure: true, token: { data: token } }));
      for (const kind of ['Secret', 'Node', 'Service', 'CertificateSigningRequest'] as const) {
        assert.is(await allowed(client.list(kind)), false, kind);
      }
      assert.is(await allowed(client.create(nodeObject('m1'))), false);
      client.close();
    }, reached(authorization)),
  );
}

test(
  'refused, each with its reason: another authority, tokens that are wrong, expired, removed or for something else',
  withCluster(async (cluster) => {
    const good = await invite(cluster);
    const attempt = (change: Partial<Invitation>): Promise<string> => {
      const kubeconfig = newFile();
      return refusal(joinCluster({ ...good, ...change, node: 'm1', kubeconfig })).finally(() => {
        assert.throws(() => statSync(kubeconfig), /ENOENT/);
      });
    };
    const other = `sha256:${'0'.repeat(64)}`;
    assert.match(await attempt({ authorityHash: other }), `has the hash ${good.authorityHash}, not ${other}: this is`);
    const [id] = good.token.split('.');
    const advice = 'make another one with `dataplane token create`';
    assert.is(await attempt({ token: `${id}.0123456789abcdef` }), `token ${id} is not valid: ${advice}`);
    const { token: expired } = await invite(cluster, -1000);
    assert.is(await attempt({ token: expired }), `token ${expired.slice(0, 6)} has expired: ${advice}`);
    const wrongSecret = `${expired.slice(0, 6)}.0123456789abcdef`;
    assert.match(await attempt({ token: wrongSecret }), /is not valid/);
    const { token: forSigning } = await invite(cluster, 60_000, { 'usage-bootstrap-authentication': 'false' });
    assert.match(await attempt({ token: forSigning }), /is not valid/);
    await cluster.client.delete('Secret', `bootstrap-token-${id}`, { namespace: 'kube-system' });
    assert.match(await attempt({}), /is not valid/);
  }, reached()),
);

test(
  'refused: a server that is not there, or is something else',
  withCluster(async (cluster) => {
    const good = await invite(cluster);
    const at = (url: string) => refusal(joinCluster({ ...good, url, node: 'm1', kubeconfig: newFile() }));
    assert.match(
      await at('https://127.0.0.1:1'),
      /^no answer of https:\/\/127.0.0.1:1 \(.*ECONNREFUSED.*\): check the/,
    );
    const other = createServer((socket) => socket.end('SSH-2.0-x\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    const answer = await at(`https://127.0.0.1:${port}`).finally(() => other.close());
    assert.match(answer, /^no answer of .* \(it does not speak TLS\): check the address/);
  }, reached()),
);

test(
  'a name is given once: neither that of a Node, nor that of a machine which has joined and not started its agent yet',
  withCluster(async (cluster) => {
    const good = await invite(cluster);
    await cluster.client.create(nodeObject('m1'));
    const first = newFile();
    const taken = await refusal(joinCluster({ ...good, node: 'm1', kubeconfig: first }));
    assert.match(taken, /^there is a Node m1: choose another name with --node, or delete that one first/);
    await joinCluster({ ...good, node: 'm2', kubeconfig: newFile() });
    const second = newFile();
    assert.match(
      await refusal(joinCluster({ ...good, node: 'm2', kubeconfig: second })),
      /^another machine has just joined as m2: choose/,
    );
    // When the Node is deleted, its name is free.
    await cluster.client.create(nodeObject('m2'));
    await cluster.client.delete('Node', 'm2');
    await eventually(async () => {
      const { items } = await cluster.client.list('CertificateSigningRequest');
      return items.every(({ status }) => status?.conditions?.[0]?.type !== 'Approved');
    });
    await joinCluster({ ...good, node: 'm2', kubeconfig: second });
    assert.match(
      await refusal(joinCluster({ ...good, node: 'm2', kubeconfig: second })),
      /exists: this machine has joined a cluster: remove the file/,
    );
  }, reached()),
);

test(
  'a machine whose `join` was interrupted after the request asks again with the same key',
  withCluster(async (cluster) => {
    const good = await invite(cluster);
    const kubeconfig = newFile();
    await joinCluster({ ...good, node: 'm1', kubeconfig });
    const text = readFileSync(kubeconfig, 'utf8');
    const key = Buffer.from(/client-key-data: (\S+)/.exec(text)?.[1] as string, 'base64');
    rmSync(kubeconfig);
    writeFileSync(`${kubeconfig}.key`, key, { mode: 0o600 });
    await joinCluster({ ...good, node: 'm1', kubeconfig });
    assert.match(readFileSync(kubeconfig, 'utf8'), key.toString('base64'));
    assert.throws(() => statSync(`${kubeconfig}.key`), /ENOENT/);
  }, reached()),
);

test(
  'a node gets its own next certificate, and none of another node',
  withCluster(async (cluster) => {
    const client = await joined(cluster, 'm1');
    const ask = async (node: string): Promise<CertificateSigningRequest> =>
      client.create<CertificateSigningRequest>({
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name: `next-${node}` },
        spec: {
          request: Buffer.from(await requestCertificate(newKey(), `O=system:nodes, CN=system:node:${node}`)).toString(
            'base64',
          ),
          signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
          usages: ['digital signature', 'client auth'],
        },
      });
    await ask('m2');
    await ask('m1');
    await eventually(async () => (await client.get('CertificateSigningRequest', 'next-m1')).status?.certificate);
    assert.equal((await client.get('CertificateSigningRequest', 'next-m2')).status, {});
    client.close();
  }, reached()),
);

test.run();
