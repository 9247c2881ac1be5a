// @kubernetes/client-node, installed in the directory argv[2], against the API at argv[3]: prints one line per thing that
// works. To install it outside of the repository: npm install --prefix DIRECTORY @kubernetes/client-node@1.4.0
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [directory, server] = process.argv.slice(2);
const entry = join(directory, 'node_modules/@kubernetes/client-node/dist/index.js');
const { CoreV1Api, KubeConfig, KubernetesObjectApi, makeInformer, PatchStrategy, setHeaderOptions, Watch } =
  await import(pathToFileURL(entry));

const config = new KubeConfig();
config.loadFromClusterAndUser({ name: 'c', server, skipTLSVerify: true }, { name: 'u' });
const core = config.makeApiClient(CoreV1Api);
const namespace = 'default';
const map = (name, data, labels = { app: 'node' }) => ({ metadata: { name, labels }, data });

await core.createNamespacedConfigMap({ namespace, body: map('first', { a: '1' }) });
const seen = [];
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'app=node' });
const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, 'app=node');
let connections = 0;
informer.on('connect', () => connections++);
informer.on('error', (error) => seen.push(`error ${error}`));
for (const verb of ['add', 'update', 'delete'])
  informer.on(verb, ({ metadata }) => seen.push(`${verb} ${metadata.name}`));
await informer.start();

async function until(what, condition) {
  for (const end = Date.now() + 10_000; !condition(); await sleep(20)) {
    if (Date.now() > end) throw new Error(`not within ten seconds: ${what}; seen: ${seen}`);
  }
}

await until('the watch is open', () => connections === 1);
await core.createNamespacedConfigMap({ namespace, body: map('second', { a: '1' }) });
await core.createNamespacedConfigMap({ namespace, body: map('other', {}, { app: 'other' }) });
const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
await core.patchNamespacedConfigMap({ name: 'first', namespace, body: { data: { a: '2' } } }, merge);
await core.deleteNamespacedConfigMap({ name: 'second', namespace });
await until('all changes are seen', () => seen.length >= 4);
console.log('informer:', seen.join(', '));
console.log(
  'cache:',
  informer
    .list()
    .map(({ metadata, data }) => `${metadata.name} ${data.a}`)
    .join(),
);
await informer.stop();

const objects = KubernetesObjectApi.makeApiClient(config);
const applied = await objects.patch(
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'first', namespace }, data: { b: '3' } },
  undefined,
  undefined,
  'node',
  true,
  PatchStrategy.ServerSideApply,
);
console.log('applied:', JSON.stringify(applied.data));

const types = [];
const { resourceVersion } = (await list()).metadata;
const ended = new Promise((resolve) => {
  const options = { resourceVersion, timeoutSeconds: 1 };
  new Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`, options, (type) => types.push(type), resolve);
});
await sleep(200);
await core.deleteNamespacedConfigMap({ name: 'first', namespace });
await ended;
console.log('watch:', types.join());
const refused = await core.readNamespacedConfigMap({ name: 'first', namespace }).catch((error) => error);
console.log('not found:', refused.code);
