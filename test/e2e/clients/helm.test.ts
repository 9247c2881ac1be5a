/**
 * Helm, versions 3 and 4, as its users run it, with charts in the shape of public ones (charts/): install, upgrade, rollback,
 * test and uninstall with waiting; hooks, `lookup`, a directory of CustomResourceDefinitions, subcharts.
 * HELM3, HELM4: the programs.
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { ConfigMap, Kind, KubeObject, Pod, Secret } from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { ClientHome, clientTest, someClient } from '../../lib/client-program.ts';
import { type Cluster, eventually, podNetns, ROOT, startCluster } from '../../lib/cluster.ts';

const CHARTS = join(ROOT, 'test/e2e/clients/charts');
const GADGETS = '/apis/clients.example/v1';

let cluster: Cluster;
let home: ClientHome;
const api = new ApiClient(API_SOCKET);

test.before(async () => {
  if (!someClient('HELM3', 'HELM4')) return;
  home = new ClientHome();
  cluster = await startCluster();
});
test.after(async () => {
  api.close();
  home?.remove();
  await cluster?.down();
});

/** One version of Helm in a namespace of its own. */
class Helm {
  private readonly program: string;
  readonly namespace: string;
  /** Helm 4 renamed what undoes a failed upgrade. */
  readonly undo: string;

  constructor(program: string, namespace: string, undo: string) {
    this.program = program;
    this.namespace = namespace;
    this.undo = undo;
  }

  in(namespace: string): Helm {
    return new Helm(this.program, namespace, this.undo);
  }

  try(...words: string[]) {
    return home.tryRun([this.program, '--namespace', this.namespace, ...words], { timeoutMs: 60_000 });
  }

  run(...words: string[]): Promise<string> {
    return home.run([this.program, '--namespace', this.namespace, ...words], { timeoutMs: 60_000 });
  }

  /** `install` or `upgrade`, waiting until everything is ready. */
  async release(verb: string, name: string, chart: string, ...words: string[]): Promise<string> {
    return this.run(verb, name, chart, '--wait', '--timeout', '40s', '--create-namespace', ...words);
  }

  /** Revisions as `1 superseded`. */
  async history(name: string): Promise<string[]> {
    const lines = JSON.parse(await this.run('history', name, '-o', 'json')) as { revision: number; status: string }[];
    return lines.map(({ revision, status }) => `${revision} ${status}`);
  }

  async list<T extends KubeObject>(kind: Kind, labelSelector?: string): Promise<T[]> {
    const { items } = await api.list(kind, { namespace: this.namespace, ...(labelSelector && { labelSelector }) });
    return items as unknown as T[];
  }

  async names(kind: Kind, labelSelector?: string): Promise<string[]> {
    return (await this.list(kind, labelSelector)).map(({ metadata }) => metadata.name);
  }

  /** Waits until no object of this kind and these labels is left. */
  async gone(kind: Kind, labelSelector: string): Promise<void> {
    await eventually(async () => (await this.names(kind, labelSelector)).length === 0 || undefined);
  }
}

for (const [version, undo] of [
  [3, '--atomic'],
  [4, '--rollback-on-failure'],
] as const) {
  const helmTest = (chart: string, name: string, body: (helm: Helm) => Promise<void>) =>
    clientTest(test, `HELM${version}`, `helm ${version}: ${name}`, (program) =>
      body(new Helm(program, `${chart}-${version}`, undo)),
    );

  helmTest('web', 'a web server is installed, tested, upgraded, rolled back and uninstalled', async (helm) => {
    const chart = join(CHARTS, 'web');
    const of = 'app.kubernetes.io/instance=first';
    const installed = await helm.release('install', 'first', chart);
    assert.match(installed, `first serves at http://first-web.${helm.namespace}:80/\nIngress is served.`);
    const pods = await helm.list<Pod>('Pod', of);
    assert.equal(
      pods.map(({ status }) => status?.conditions?.find(({ type }) => type === 'Ready')?.status),
      ['True', 'True'],
      '--wait returns when all pods are Ready',
    );
    assert.is(pods[0]!.spec.serviceAccountName, 'first-web');
    const tested = await helm.run('test', 'first', '--logs');
    assert.match(tested, /Phase: +Succeeded/);
    assert.match(tested, '<p>first of first, revision 1</p>');

    const more = ['--set', 'page=second,replicaCount=3,ingress.enabled=true'];
    await helm.release('upgrade', 'first', chart, ...more);
    assert.is((await api.get('Deployment', 'first-web', helm.namespace)).status?.readyReplicas, 3);
    assert.equal(await helm.names('Ingress', of), ['first-web']);
    assert.match(await helm.run('test', 'first', '--logs'), '<p>second of first, revision 2</p>');
    assert.match(await helm.run('get', 'values', 'first'), /page: second\nreplicaCount: 3/);

    await helm.run('rollback', 'first', '1', '--wait', '--timeout', '40s');
    assert.match(await helm.run('test', 'first', '--logs'), '<p>first of first, revision 1</p>');
    assert.equal(await helm.names('Ingress', of), [], 'what the older revision has not is removed');

    const broken = ['--set', 'image.repository=nobody/nothing', helm.undo, '--timeout', '3s'];
    const failed = await helm.try('upgrade', 'first', chart, ...broken);
    assert.is(failed.status, 1);
    assert.match(failed.stderr, 'UPGRADE FAILED: release first failed, and has been rolled back');
    assert.equal(await helm.history('first'), [
      '1 superseded',
      '2 superseded',
      '3 superseded',
      '4 failed',
      '5 deployed',
    ]);
    assert.match(await helm.run('list'), /^first\s+web-\d\s.*\sdeployed\s+web-0.3.0\s+1.27/m);
    assert.match(await helm.run('status', 'first'), 'STATUS: deployed');
    assert.match(await helm.run('get', 'manifest', 'first'), 'kind: PodDisruptionBudget');

    assert.match(await helm.run('uninstall', 'first', '--wait', '--timeout', '40s'), 'release "first" uninstalled');
    for (const kind of ['Deployment', 'ReplicaSet', 'Service', 'ServiceAccount', 'PodDisruptionBudget'] as const) {
      assert.equal(await helm.names(kind, of), [], kind);
    }
    assert.equal(await helm.names('Pod', of), ['first-web-test'], 'the pod of a test is not part of the release');
    assert.equal(await helm.names('Secret'), []);
  });

  helmTest(
    'cache',
    'a cache looks up the password it has, and keeps its data while its pods are replaced',
    async (helm) => {
      const chart = join(CHARTS, 'cache');
      await helm.release('install', 'c', chart);
      const password = async () => {
        const { data } = (await api.get('Secret', 'c-cache', helm.namespace)) as Secret;
        return Buffer.from(data!.password!, 'base64').toString();
      };
      const first = await password();
      assert.match(first, /^[A-Za-z0-9]{16}$/);
      const ask = async (pod: string, ...lines: string[]) => {
        const input = [`AUTH ${first}`, ...lines, ''].join('\n');
        const words = ['timeout', '2', 'bash', '-c', 'exec 3<>/dev/tcp/"$0"/6379; cat >&3; cat <&3', pod];
        const { stdout } = await cluster.exec(podNetns('c-cache-1', helm.namespace), words, { input });
        return stdout.trim().split('\n');
      };
      const [primary] = await helm.list<Pod>('Pod', 'statefulset.kubernetes.io/pod-name=c-cache-0');
      assert.equal(await ask(primary!.status!.podIP!, 'SET a b', 'GET a', 'ROLE'), ['+OK', '+OK', '+b', '+primary']);
      const { spec } = await api.get('Service', 'c-cache-primary', helm.namespace);
      assert.equal(await ask(spec.clusterIP!, 'GET a'), ['+OK', '+b']);

      await helm.release('upgrade', 'c', chart, '--set', 'replicas=3,config=maxkeys 1');
      assert.is(await password(), first);
      assert.equal(await helm.names('Pod'), ['c-cache-0', 'c-cache-1', 'c-cache-2']);
      const log = await cluster.cli('logs', 'c-cache-0', '-n', helm.namespace);
      assert.is(log, 'ready for at most 1 keys\n');
      assert.equal(
        await ask(spec.clusterIP!, 'GET a', 'SET c d'),
        ['+OK', '+b', '-OOM'],
        'the claim kept what was set',
      );
      await helm.run('uninstall', 'c', '--wait', '--timeout', '40s');
      const claims = ['data-c-cache-0', 'data-c-cache-1', 'data-c-cache-2'];
      assert.equal(await helm.names('PersistentVolumeClaim'), claims, 'claims of a StatefulSet outlive a release');
      await helm.gone('Pod', 'app.kubernetes.io/name=cache');
    },
  );

  helmTest(
    'operator',
    'custom kinds come first, hooks run around a release, and a failing one undoes it',
    async (helm) => {
      const chart = join(CHARTS, 'operator');
      const colour = async () => {
        const path = `${GADGETS}/namespaces/${helm.namespace}/gadgets/op`;
        return (await api.raw<{ spec: { colour: string } }>(path)).spec.colour;
      };
      const jobs = () => helm.names('Job');
      await helm.release('install', 'op', chart);
      assert.is(await colour(), 'green');
      assert.equal(await jobs(), ['op-migrate'], 'the one with hook-succeeded is gone');
      const [pod] = await helm.list<Pod>('Pod', 'batch.kubernetes.io/job-name=op-migrate');
      assert.is(await cluster.cli('logs', pod!.metadata.name, '-n', helm.namespace), 'migrating to 2.0\n');

      await helm.release('upgrade', 'op', chart, '--set', 'gadget.colour=red');
      assert.is(await colour(), 'red');
      const refused = await helm.try('upgrade', 'op', chart, '--set', 'gadget.colour=blue');
      assert.match(
        refused.stderr,
        'Gadget.clients.example "op" is invalid: spec.colour: Unsupported value: "blue": supported values: "green", "red"',
      );
      const failed = await helm.try(
        'upgrade',
        'op',
        chart,
        '--set',
        'migrationStatus=3',
        helm.undo,
        '--timeout',
        '20s',
      );
      assert.is(failed.status, 1);
      assert.match(failed.stderr, 'pre-upgrade hooks failed');
      assert.match(failed.stderr, /BackoffLimitExceeded|status: Failed/);
      assert.is(await colour(), 'red');
      assert.equal(await helm.history('op'), ['1 superseded', '2 superseded', '3 failed', '4 failed', '5 deployed']);

      assert.match(await helm.run('uninstall', 'op', '--wait', '--timeout', '40s'), '[ConfigMap] op-kept');
      assert.ok((await helm.names('ConfigMap')).includes('op-kept'), 'what the resource policy keeps is kept');
      const { items } = await api.raw<{ items: KubeObject[] }>(`${GADGETS}/namespaces/${helm.namespace}/gadgets`);
      assert.equal(items, []);
      assert.ok(
        (await api.list('CustomResourceDefinition')).items.some(({ spec }) => spec),
        'definitions stay',
      );
    },
  );

  helmTest(
    'platform',
    'an umbrella chart has its subcharts by condition, alias and tag, in a namespace it makes',
    async (helm) => {
      const charts = join(home.path, `charts-${version}`);
      cpSync(CHARTS, charts, { recursive: true });
      const chart = join(charts, 'platform');
      await helm.run('dependency', 'build', chart);
      const shop = helm.in(`shop-${version}`);
      await shop.release('upgrade', 'p', chart, '--install');
      assert.equal(await shop.names('Deployment'), ['p-web']);
      assert.equal(await shop.names('StatefulSet'), ['p-cache']);
      const { data, metadata } = (await api.get('ConfigMap', 'p-platform', shop.namespace)) as ConfigMap;
      assert.equal(data, { web: 'platform', cache: `p-cache-primary.${shop.namespace}` });
      assert.is(metadata.labels!.team, 'net');
      await shop.release('upgrade', 'p', chart, '--reuse-values', '--set', 'admin.enabled=true,tags.data=false');
      assert.equal(await shop.names('Deployment'), ['p-admin', 'p-web']);
      await shop.gone('StatefulSet', 'app.kubernetes.io/name=cache');
      assert.match(await shop.run('list', '--all-namespaces'), /^p\s+shop-/m);
      await shop.run('uninstall', 'p', '--wait', '--timeout', '40s');
    },
  );
}

test.run();
