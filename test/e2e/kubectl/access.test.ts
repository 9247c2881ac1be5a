/**
 * Access to the API: from the host with the kubeconfig, from a pod through `kubernetes.default`, and without
 * credentials.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, podNetns, processPod, run, startCluster } from '../../lib/cluster.ts';
import { kubectl, whyNoKubectl } from '../../lib/kubectl.ts';
import { testUnless } from '../../lib/test-unless.ts';

let cluster: Cluster;
test.before(async () => {
  const sleeper = (name: string, node: string) => processPod(name, node, ['sleep', 'infinity']);
  cluster = await startCluster({ manifests: [sleeper('one', 'n1'), sleeper('two', 'n2')] });
});
test.after(() => cluster.down());

const kubeconfig = async () => (await cluster.cli('kubeconfig', '--path')).trim();
const serverOf = (text: string) => /server: (\S+)/.exec(text)![1]!;

test('`kubeconfig --path` names a file that only root may read, `kubeconfig` prints it', async () => {
  const path = await kubeconfig();
  assert.is(statSync(path).mode & 0o777, 0o600);
  assert.is(await cluster.cli('kubeconfig'), readFileSync(path, 'utf8'));
  for (const name of ['ca.key', 'apiserver.key', 'admin.key', 'sa.key']) {
    assert.is(statSync(`/run/dataplane/pki/${name}`).mode & 0o777, 0o600, name);
  }
});

const why = whyNoKubectl();
testUnless(why)('kubectl works with the kubeconfig as it is', async () => {
  const nodes = await kubectl(['get', 'nodes', '-o', 'name']);
  assert.equal(nodes.trim().split('\n').sort(), ['node/n1', 'node/n2']);
  assert.match(await kubectl(['version']), /Server Version.*v1\./);
});

test('unauthenticated clients reach version and health and nothing else', async () => {
  const server = serverOf(await cluster.cli('kubeconfig'));
  const ask = async (path: string, ...args: string[]) => {
    const { stdout } = await run(['curl', '-sk', '-o', '/dev/null', '-w', '%{http_code}', ...args, `${server}${path}`]);
    return stdout;
  };
  for (const path of ['/version', '/healthz', '/livez', '/readyz']) assert.is(await ask(path), '200', path);
  for (const path of ['/api', '/apis', '/api/v1/pods', '/api/v1/namespaces/default/secrets']) {
    assert.is(await ask(path), '403', path);
  }
  assert.is(await ask('/version', '-H', 'Authorization: Bearer nobody'), '401');
  const { stdout } = await run(['curl', '-s', `${server}/version`]);
  assert.is(stdout, '', 'the certificate is checked against the authority of the kubeconfig, no other');
});

test('pods of every node reach the API as 10.96.0.1:443, with a certificate for its names', async () => {
  const authority = '/run/dataplane/pki/ca.crt';
  for (const pod of ['one', 'two']) {
    const page = await eventually(() =>
      cluster.fetch(podNetns(pod), 'https://10.96.0.1/version', '--cacert', authority),
    );
    assert.is((JSON.parse(page) as { major: string }).major, '1');
    const named = ['--resolve', 'kubernetes.default.svc:443:10.96.0.1', '--cacert', authority];
    await cluster.fetch(podNetns(pod), 'https://kubernetes.default.svc/version', ...named);
  }
  const [slice] = (await cluster.get<{ items: { endpoints: { addresses: string[] }[] }[] }>('endpointslices')).items;
  assert.equal(slice!.endpoints[0]!.addresses, ['172.18.0.1']);
});

test('a pod has token, certificate and namespace where client libraries expect them, and the API accepts them', async () => {
  const where = '/var/run/secrets/kubernetes.io/serviceaccount';
  const ask = `curl -sS --max-time 5 --cacert ${where}/ca.crt -H "Authorization: Bearer $(cat ${where}/token)"`;
  const review = '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}';
  const url =
    'https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const script = `cat ${where}/namespace; echo; ${ask} -H content-type:application/json -d '${review}' ${url}`;
  const [namespace, answer] = (await cluster.cli('exec', 'one', '--', 'sh', '-c', script)).split('\n');
  assert.is(namespace, 'default');
  const { status } = JSON.parse(answer!) as {
    status: { userInfo: { username: string; extra: Record<string, string[]> } };
  };
  assert.is(status.userInfo.username, 'system:serviceaccount:default:default');
  assert.equal(status.userInfo.extra['authentication.kubernetes.io/pod-name'], ['one']);
});

testUnless(why)('kubectl auth whoami, can-i and create token', async () => {
  assert.match(await kubectl(['auth', 'whoami']), /Username\s+kubernetes-admin/);
  assert.is((await kubectl(['auth', 'can-i', 'delete', 'pods'])).trim(), 'yes');
  assert.match(await kubectl(['auth', 'can-i', '--list']), /\*\.\*/);
  await kubectl(['create', 'serviceaccount', 'robot']);
  const token = (await kubectl(['create', 'token', 'robot'])).trim();
  assert.match(
    await kubectl(['--token', token, 'auth', 'whoami'], { env: await tokenOnly() }),
    'system:serviceaccount:default:robot',
  );
});

/** A kubeconfig without a client certificate. */
async function tokenOnly(): Promise<NodeJS.ProcessEnv> {
  const path = '/run/dataplane/without-certificate';
  const text = await cluster.cli('kubeconfig');
  writeFileSync(path, text.replace(/^ +client-.*\n/gm, '').replace(/^ +user:\n/m, ''));
  return { KUBECONFIG: path };
}

test('default/kubernetes is restored after it is deleted', async () => {
  await cluster.cli('delete', 'service', 'kubernetes');
  await eventually(async () => {
    const { spec } = await cluster.get<{ spec: { clusterIP: string } }>('service', 'kubernetes');
    return spec.clusterIP === '10.96.0.1' || undefined;
  });
});

test.run();
