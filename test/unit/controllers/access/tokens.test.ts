/** Service accounts, their tokens, and their permissions with RBAC, over TLS as in pods. */
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject, Manifest, Pod } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, pod, refusal, request, type TestCluster, withCluster } from '../test-cluster.ts';

interface Answer {
  code: number;
  body: Record<string, unknown> & { message?: string; status?: Record<string, unknown> };
}

/** A request over TLS with a token. */
function ask({ directory }: TestCluster, token: string, method: string, path: string, body?: object): Promise<Answer> {
  const kubeconfig = readFileSync(join(directory, 'kubeconfig'), 'utf8');
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(kubeconfig)![1]);
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const ca = readFileSync(join(directory, 'pki/ca.crt'));
    const options = { host: '127.0.0.1', port, servername: 'kubernetes', ca, method, path, headers, agent: false };
    const asked = httpsRequest(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ code: response.statusCode!, body: JSON.parse(text) as Answer['body'] }));
    });
    asked.on('error', reject);
    asked.end(body && JSON.stringify(body));
  });
}

const review = (kind: string, spec: object, group = 'authorization') => ({
  apiVersion: `${group}.k8s.io/v1`,
  kind,
  spec,
});

test(
  'every namespace has its service account and the CA certificate, even after they are deleted',
  withCluster(
    async ({ client, directory }) => {
      await client.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'team' } } as Manifest<KubeObject>);
      const present = async () => {
        const map = await client.get('ConfigMap', 'kube-root-ca.crt', 'team');
        const account = await client.get('ServiceAccount', 'default', 'team');
        return account && map.data?.['ca.crt'] === readFileSync(join(directory, 'pki/ca.crt'), 'utf8');
      };
      await eventually(present);
      await client.delete('ServiceAccount', 'default', { namespace: 'team' });
      await client.patch('ConfigMap', 'kube-root-ca.crt', { data: { 'ca.crt': 'forged' } }, { namespace: 'team' });
      await eventually(present);
    },
    { access: {} },
  ),
);

test(
  'a pod gets its account, and the token, certificate and namespace mounted, unless automountServiceAccountToken is false',
  withCluster(
    async ({ client }) => {
      await client.create(pod('p'));
      const { spec } = await client.get('Pod', 'p', 'default');
      assert.is(spec.serviceAccountName, 'default');
      const [volume] = spec.volumes!;
      assert.match(volume!.name, /^kube-api-access-[a-z0-9]{5}$/);
      assert.equal(
        volume!.projected!.sources!.map((source) => Object.keys(source)[0]),
        ['serviceAccountToken', 'configMap', 'downwardAPI'],
      );
      assert.equal(spec.containers[0]!.volumeMounts, [
        { name: volume!.name, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true },
      ]);
      await client.create(pod('quiet', {}, { automountServiceAccountToken: false }));
      assert.is((await client.get('Pod', 'quiet', 'default')).spec.volumes, undefined);
      const missing = await refusal(client.create(pod('lost', {}, { serviceAccountName: 'nobody' })));
      assert.is(missing.code, 403);
      assert.match(missing.message, 'serviceaccount "nobody" not found');
    },
    { access: {} },
  ),
);

test(
  'a token is valid as long as its account and its pod exist',
  withCluster(
    async (cluster) => {
      const { client } = cluster;
      await addNode(client, 'n1');
      const made = (await client.create(pod('p'))) as Pod;
      await eventually(async () => (await client.get('Pod', 'p', 'default')).spec.nodeName === 'n1');
      await eventually(() => client.find('ServiceAccount', 'default', 'default'));
      const boundObjectRef = { kind: 'Pod', name: 'p', uid: made.metadata.uid };
      const { token, expiresAtMs } = await client.requestToken('default', 'default', {
        expirationSeconds: 600,
        boundObjectRef,
      });
      assert.ok(Math.abs(expiresAtMs - Date.now() - 600_000) < 5000);
      const self = () => ask(cluster, token, 'POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {});
      const { body } = await self();
      const { username, groups, extra } = (body.status as { userInfo: Record<string, unknown> }).userInfo;
      assert.is(username, 'system:serviceaccount:default:default');
      assert.equal(groups, ['system:serviceaccounts', 'system:serviceaccounts:default', 'system:authenticated']);
      assert.equal((extra as Record<string, string[]>)['authentication.kubernetes.io/pod-name'], ['p']);
      assert.equal((extra as Record<string, string[]>)['authentication.kubernetes.io/node-name'], ['n1']);
      const tampered = `${token.slice(0, -6)}AAAAAA`;
      assert.is((await ask(cluster, tampered, 'GET', '/version')).code, 401);
      await client.delete('Pod', 'p', { gracePeriodSeconds: 0 });
      assert.is((await self()).code, 401, 'its pod is gone');
      const free = await client.requestToken('default', 'default', { expirationSeconds: 600 });
      assert.is((await ask(cluster, free.token, 'GET', '/api/v1/pods')).code, 200);
      await client.delete('ServiceAccount', 'default', { namespace: 'default' });
      await eventually(() => client.find('ServiceAccount', 'default', 'default'));
      assert.is((await ask(cluster, free.token, 'GET', '/api/v1/pods')).code, 401, 'the account was created again');
    },
    { access: {} },
  ),
);

test(
  'tokens: audience, lifetime and bound object are checked; TokenReview returns the user',
  withCluster(
    async (cluster) => {
      const { client } = cluster;
      await eventually(() => client.find('ServiceAccount', 'default', 'default'));
      assert.is((await refusal(client.requestToken('default', 'default', { expirationSeconds: 10 }))).code, 422);
      assert.is((await refusal(client.requestToken('default', 'nobody', {}))).code, 404);
      const stale = { boundObjectRef: { kind: 'Secret', name: 'none' } };
      assert.is((await refusal(client.requestToken('default', 'default', stale))).code, 404);
      const forever = await refusal(client.requestToken('default', 'default', { expirationSeconds: 2 ** 33 }));
      assert.match(forever.message, /may not specify a duration larger than 2\^32 seconds/);
      await client.create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'other' } });
      await client.create(pod('p'));
      const ofPod = { boundObjectRef: { kind: 'Pod', name: 'p' } };
      await client.requestToken('default', 'default', ofPod);
      const foreign = await refusal(client.requestToken('default', 'other', ofPod));
      assert.match(foreign.message, /cannot bind token for serviceaccount "other" to pod running with different/);
      const { token } = await client.requestToken('default', 'default', { audiences: ['vault'] });
      assert.is((await ask(cluster, token, 'GET', '/api')).code, 401, 'it was issued for another audience');
      const post = async (spec: object) => {
        const path = '/apis/authentication.k8s.io/v1/tokenreviews';
        const answer = await request(cluster.socketPath, 'POST', path, review('TokenReview', spec, 'authentication'));
        return (JSON.parse(answer.body) as { status: Record<string, unknown> }).status;
      };
      const { authenticated, user } = await post({ token, audiences: ['vault'] });
      assert.ok(authenticated);
      assert.is((user as { username: string }).username, 'system:serviceaccount:default:default');
      assert.is((await post({ token })).authenticated, undefined);
    },
    { access: {} },
  ),
);

test(
  'with RBAC a service account may do what its bindings allow, and access reviews agree',
  withCluster(
    async (cluster) => {
      const { client } = cluster;
      await eventually(() => client.find('ServiceAccount', 'default', 'default'));
      const { token } = await client.requestToken('default', 'default', {});
      const code = async (method: string, path: string, body?: object) =>
        (await ask(cluster, token, method, path, body)).code;
      const pods = '/api/v1/namespaces/default/pods';
      assert.is(await code('GET', '/api'), 200, 'every authenticated user may read discovery');
      assert.is(await code('GET', pods), 403);
      const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list'] }];
      const rbac = 'rbac.authorization.k8s.io/v1';
      await client.create({
        apiVersion: rbac,
        kind: 'Role',
        metadata: { name: 'reader' },
        rules,
      } as unknown as Manifest<KubeObject>);
      await client.create({
        apiVersion: rbac,
        kind: 'RoleBinding',
        metadata: { name: 'reader' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ kind: 'ServiceAccount', name: 'default', namespace: 'default' }],
      } as unknown as Manifest<KubeObject>);
      assert.is(await code('GET', pods), 200);
      assert.is(await code('GET', '/api/v1/namespaces/kube-system/pods'), 403);
      assert.is(await code('GET', '/api/v1/pods'), 403);
      assert.is(await code('GET', `${pods}?watch=1`), 403);
      assert.is(await code('DELETE', `${pods}/x`), 403);
      assert.is(await code('GET', `${pods}/x/log`), 403);
      const may = async (resourceAttributes: object) => {
        const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
        const { body } = await ask(
          cluster,
          token,
          'POST',
          path,
          review('SelfSubjectAccessReview', { resourceAttributes }),
        );
        return body.status!.allowed;
      };
      assert.is(await may({ namespace: 'default', verb: 'list', resource: 'pods' }), true);
      assert.is(await may({ namespace: 'default', verb: 'delete', resource: 'pods' }), false);
      const { body } = await ask(
        cluster,
        token,
        'POST',
        '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
        review('SelfSubjectRulesReview', { namespace: 'default' }),
      );
      const found = body.status!.resourceRules as { resources: string[]; verbs: string[] }[];
      assert.ok(found.some((rule) => rule.resources.includes('pods') && rule.verbs.includes('list')));
      const others = { user: 'jane', resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } };
      const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
      assert.is((await ask(cluster, token, 'POST', path, review('SubjectAccessReview', others))).code, 403);
      const byRoot = await request(cluster.socketPath, 'POST', path, review('SubjectAccessReview', others));
      assert.is((JSON.parse(byRoot.body) as { status: { allowed: boolean } }).status.allowed, false);
    },
    { access: { authorization: 'rbac' } },
  ),
);

const rbacObject = (kind: string) => {
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'warned' };
  const object = { apiVersion, kind, metadata: { name: 'warned' } };
  return (kind.endsWith('Binding') ? { ...object, roleRef } : object) as unknown as Manifest<KubeObject>;
};

/** The warnings that the API sends with a new object of each kind of RBAC. */
async function rbacWarnings({ client }: TestCluster): Promise<string[]> {
  const warnings: string[] = [];
  for (const kind of ['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding']) {
    await client.create(rbacObject(kind), { onWarning: (text) => warnings.push(text) });
  }
  return warnings;
}

test(
  'with --authorization open, roles and bindings are stored with one and the same warning',
  withCluster(async (cluster) => {
    const warnings = await rbacWarnings(cluster);
    assert.is(warnings.length, 4);
    assert.equal(
      [...new Set(warnings)],
      ['roles and bindings have no effect in this cluster: it was started with --authorization open'],
    );
  }),
);

test(
  'with --authorization rbac, roles and bindings act, and no warning says otherwise',
  withCluster(
    async (cluster) => {
      assert.equal(await rbacWarnings(cluster), []);
    },
    { access: { authorization: 'rbac' } },
  ),
);

test.run();
