/** Where an API server is, by kubeconfig or from inside a pod. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { serverAt, serverOfPod } from '../../../../src/api/client/api-server.ts';
import { serverOfKubeconfig } from '../../../../src/api/client/kubeconfig.ts';

const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
test.after(() => rmSync(directory, { recursive: true }));

const base64 = (text: string) => Buffer.from(text).toString('base64');

function kubeconfig({ cluster = {}, user = {} }: { cluster?: object; user?: object }): string {
  const file = join(directory, 'kubeconfig');
  const server = 'https://api.example:8443/k8s/c1/';
  writeFileSync(
    file,
    JSON.stringify({
      'current-context': 'a',
      contexts: [{ name: 'a', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server, ...cluster } }],
      users: [{ name: 'u', user }],
    }),
  );
  return file;
}

test('a unix socket and a plain URL need no credentials; https needs a kubeconfig', () => {
  assert.equal(serverAt('unix:///run/api.sock').where, { socketPath: '/run/api.sock' });
  assert.equal(serverAt('http://[fd00::1]:8080').where, { host: 'fd00::1', port: 8080 });
  assert.throws(() => serverAt('https://api.example'), /https needs a kubeconfig/);
});

test('the current context names server, base path and credentials; inline values take precedence over files', () => {
  const { where, basePath, credentials } = serverOfKubeconfig(
    kubeconfig({
      cluster: {
        'certificate-authority-data': base64('CA'),
        'certificate-authority': 'missing',
        'tls-server-name': 'k',
      },
      user: { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') },
    }),
  );
  assert.equal(where, { host: 'api.example', port: 8443 });
  assert.is(basePath, '/k8s/c1');
  const { tls, authorization } = credentials!.now();
  assert.equal(tls, { ca: 'CA', cert: 'CERT', key: 'KEY', servername: 'k', rejectUnauthorized: true });
  assert.is(authorization, undefined);
});

test('tokens and passwords become an Authorization header', () => {
  const header = (user: object) => serverOfKubeconfig(kubeconfig({ user })).credentials!.now().authorization;
  assert.is(header({ token: 'abc' }), 'Bearer abc');
  assert.is(header({ username: 'u', password: 'p' }), `Basic ${base64('u:p')}`);
});

test('a token file, relative to the kubeconfig, is read again after it has changed', async () => {
  writeFileSync(join(directory, 'token'), 'one\n');
  const { credentials } = serverOfKubeconfig(kubeconfig({ user: { tokenFile: 'token', token: 'not this one' } }));
  assert.is(credentials!.now().authorization, 'Bearer one');
  writeFileSync(join(directory, 'token'), 'two\n');
  utimesSync(join(directory, 'token'), 1, 1);
  await sleep(1100);
  assert.is(credentials!.now().authorization, 'Bearer two');
  rmSync(join(directory, 'token'));
  await sleep(1100);
  assert.is(credentials!.now().authorization, 'Bearer two');
});

test('what cannot be used is named', () => {
  assert.throws(() => serverOfKubeconfig(kubeconfig({ user: { exec: {} } })), /user u uses exec/);
  assert.throws(() => serverOfKubeconfig(kubeconfig({ cluster: { 'proxy-url': 'http://p' } })), /proxy-url/);
  assert.throws(() => serverOfKubeconfig(kubeconfig({ cluster: { server: 'api' } })), /no server URL/);
  assert.throws(() => serverOfKubeconfig(kubeconfig({ cluster: { server: 'ftp://api' } })), /expected https/);
});

test('a pod finds its cluster by its environment and its service account', () => {
  const account = join(directory, 'account');
  mkdirSync(account);
  const environment = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };
  assert.throws(() => serverOfPod(environment, account), /token does not exist/);
  writeFileSync(join(account, 'token'), 't');
  writeFileSync(join(account, 'ca.crt'), 'CA');
  const { where, credentials } = serverOfPod(environment, account);
  assert.equal(where, { host: '10.96.0.1', port: 443 });
  assert.is(credentials!.now().authorization, 'Bearer t');
  assert.throws(() => serverOfPod({}, account), /KUBERNETES_SERVICE_HOST is not set/);
});

test.run();
