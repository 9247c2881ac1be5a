/** Authentication and authorization over TLS. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { actionOf } from '../../../../src/api/access/authorization.ts';
import { ensureCertificates } from '../../../../src/controllers/access/certificates.ts';
import { type Controller, startController } from '../../../../src/controllers/controller.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
const start = () => startController({ stateDir: directory, socketPath: join(directory, 'api.sock'), access: {} });
let controller: Controller;
test.before(async () => {
  controller = await start();
});
test.after(async () => {
  await controller.close();
  rmSync(directory, { recursive: true });
});

const pem = (name: string) => readFileSync(join(directory, 'pki', name), 'utf8');
const asAdmin = () => ({ cert: pem('admin.crt'), key: pem('admin.key') });

interface Answer {
  code: number;
  message: string;
}

function ask(path: string, options: object = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const where = { host: '127.0.0.1', port: controller.apiPort, servername: 'kubernetes', ca: pem('ca.crt') };
    const asked = httpsRequest({ ...where, path, method, agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const { message = '' } = text.startsWith('{') ? (JSON.parse(text) as { message?: string }) : {};
        resolve({ code: response.statusCode!, message });
      });
    });
    asked.on('error', reject);
    asked.end();
  });
}

test('the certificate of system:masters may do everything', async () => {
  assert.is((await ask('/api/v1/secrets', asAdmin())).code, 200);
});

test('an anonymous client may read version and health only; errors have the text of Kubernetes', async () => {
  for (const path of ['/version', '/healthz', '/livez', '/readyz']) assert.is((await ask(path)).code, 200, path);
  assert.equal(await ask('/api/v1/namespaces/default/pods/x/log'), {
    code: 403,
    message:
      'pods "x" is forbidden: User "system:anonymous" cannot get resource "pods/log" in API group "" in the namespace "default": show a client certificate or a bearer token',
  });
  assert.match((await ask('/apis')).message, /^forbidden: User "system:anonymous" cannot get path "\/apis"/);
  assert.is((await ask('/version', {}, 'POST')).code, 403);
});

test('a request with an invalid token is refused even where anonymous requests are allowed', async () => {
  assert.equal(await ask('/version', { headers: { authorization: 'Bearer x.y.z' } }), {
    code: 401,
    message: 'Unauthorized',
  });
});

test('a client with a certificate of another CA is anonymous', async () => {
  const other = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
  const { admin } = await ensureCertificates(other, ['x']);
  assert.is((await ask('/api/v1/pods', { cert: admin.certificate, key: admin.key })).code, 403);
  rmSync(other, { recursive: true });
});

test('system:masters may impersonate a user, and then has the rights of that user', async () => {
  const as = (name: string, ...groups: string[]) =>
    ask('/api/v1/pods', { ...asAdmin(), headers: { 'impersonate-user': name, 'impersonate-group': groups } });
  assert.is((await as('jane')).code, 200);
  assert.is((await as('system:anonymous')).code, 403);
  const onlyGroup = await ask('/api', { ...asAdmin(), headers: { 'impersonate-group': 'a' } });
  assert.is(onlyGroup.code, 400);
});

test('after a restart the port in the kubeconfig and the certificates are the same', async () => {
  const kubeconfig = () => readFileSync(join(directory, 'kubeconfig'), 'utf8');
  const before = kubeconfig();
  await controller.close();
  controller = await start();
  assert.is(kubeconfig(), before);
});

test('requests become actions in the terms of RBAC', () => {
  const pods = { apiGroup: '', resource: 'pods' };
  assert.equal(actionOf('GET', '/api/v1/pods'), { verb: 'list', ...pods });
  assert.equal(actionOf('GET', '/api/v1/pods?watch=1'), { verb: 'watch', ...pods });
  assert.equal(actionOf('GET', '/api/v1/namespaces/a/pods/b'), { verb: 'get', ...pods, namespace: 'a', name: 'b' });
  const named = (selector: string) =>
    actionOf('GET', `/api/v1/pods?watch=1&fieldSelector=${encodeURIComponent(selector)}`);
  assert.equal(named('metadata.name=b'), { verb: 'watch', ...pods, name: 'b' });
  assert.equal(named('spec.nodeName=n1,metadata.name==b'), { verb: 'watch', ...pods, name: 'b' });
  assert.equal(named('metadata.name!=b'), { verb: 'watch', ...pods });
  assert.equal(actionOf('DELETE', '/api/v1/namespaces/a/pods'), { verb: 'deletecollection', ...pods, namespace: 'a' });
  assert.equal(actionOf('POST', '/api/v1/namespaces/a/pods/b/exec?command=ls'), {
    verb: 'create',
    ...pods,
    subresource: 'exec',
    namespace: 'a',
    name: 'b',
  });
  const namespaces = { apiGroup: '', resource: 'namespaces', namespace: 'a', name: 'a' };
  assert.equal(actionOf('GET', '/api/v1/namespaces/a'), { verb: 'get', ...namespaces });
  assert.equal(actionOf('PUT', '/api/v1/namespaces/a/status'), {
    verb: 'update',
    ...namespaces,
    subresource: 'status',
  });
  assert.equal(actionOf('PATCH', '/apis/apps/v1/namespaces/a/deployments/d/scale'), {
    verb: 'patch',
    apiGroup: 'apps',
    resource: 'deployments',
    subresource: 'scale',
    namespace: 'a',
    name: 'd',
  });
  assert.equal(actionOf('GET', '/apis/apps/v1'), { verb: 'get', path: '/apis/apps/v1' });
});

test.run();
