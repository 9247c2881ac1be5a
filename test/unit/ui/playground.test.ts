/** The cluster of the playground: manifests in, the tables of two nodes, and packets through them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PlaygroundCluster } from '../../../src/ui/playground/cluster.ts';
import { readManifests } from '../../../src/ui/playground/manifests.ts';
import { MC3, MC3_SERVICE } from '../../../src/ui/playground/mc3-manifests.ts';
import { ROOT } from '../../lib/cluster.ts';
import { processTraced } from '../../lib/traced-build.ts';

const test = suite('playground');
const SYN = { protocol: 'tcp', port: 80, flags: 'S' };

function clusterOf(text: string): PlaygroundCluster {
  const { objects, mistakes } = readManifests(text);
  assert.equal(mistakes, []);
  const cluster = new PlaygroundCluster(processTraced);
  cluster.apply(objects);
  return cluster;
}

test('the manifests of the demo are those of the lesson, and can be applied as they are', () => {
  const text = ['mc3.yaml', 'client.yaml'].map((name) => readFileSync(join(ROOT, 'demo', name), 'utf8')).join('---\n');
  const cluster = clusterOf(text);
  assert.equal(
    cluster.topology.pods.map(({ name, node, ip }) => `${name} ${node} ${ip}`),
    ['client n2 10.244.2.2', 'mc3 n1 10.244.1.2'],
  );
});

test('addresses are those of the tutorial, and stay when manifests change', () => {
  const cluster = clusterOf(MC3 + MC3_SERVICE);
  const before = cluster.topology;
  assert.is(before.services[0]?.ip, '10.96.1.0');
  assert.is(before.services[0]?.ports[0]?.nodePort, 31418);
  cluster.apply(
    readManifests(`${MC3}${MC3_SERVICE}${MC3_SERVICE.replaceAll('mc3', 'other').replace('31418', '31419')}`).objects,
  );
  assert.equal(cluster.topology.pods, before.pods);
  assert.equal(
    cluster.topology.services.find(({ name }) => name === 'mc3'),
    before.services[0],
  );
});

test('a policy that is corrected lets the packet through', () => {
  const policy = (app: string) => `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p }
spec: { podSelector: { matchLabels: { app: mc3 } }, ingress: [ { from: [ { podSelector: { matchLabels: { app: ${app} } } } ] } ] }
`;
  const send = (text: string) => clusterOf(text).send({ ...SYN, from: '10.244.2.2', to: '10.244.1.2' });
  const denied = send(MC3 + policy('friend'));
  assert.is(denied.to, '');
  assert.ok(denied.nodes.at(-1)!.wouldDiffer.length > 0);
  assert.is(send(MC3 + policy('client')).to, 'pod default/mc3');
});

test('connections expire as on a node', () => {
  const cluster = clusterOf(MC3);
  const packet = { ...SYN, from: '10.244.2.2', to: '10.244.1.2' };
  const found = () => cluster.send(packet).nodes[0]!.steps.find(({ stage }) => stage === 'flow')!.text[0]!;
  assert.match(found(), /no connection/);
  assert.match(found(), /record/);
  cluster.advance(6 * 24 * 3600_000);
  assert.match(found(), /no connection/);
});

test('mistakes in manifests are named with their line, and nothing is applied', () => {
  const mistakes = (text: string) => readManifests(text).mistakes.join('\n');
  assert.match(mistakes('a: [1'), /^line 1, column \d+: /);
  assert.match(mistakes('kind: Deployment\napiVersion: apps/v1\n'), /kind Deployment: expected one of Pod, Service/);
  assert.match(mistakes('kind: constructor\n'), /kind constructor: expected/);
  assert.match(mistakes('apiVersion: v2\nkind: Pod\n'), /expected apiVersion v1, got v2/);
  assert.match(mistakes('apiVersion: v1\nkind: Pod\nmetadata: { name: Web }\n'), /expected metadata.name/);
  const pod = 'apiVersion: v1\nkind: Pod\nmetadata: { name: web }\n';
  assert.match(mistakes(pod), /Pod web: expected spec/);
  assert.match(mistakes(`${pod}spec: { containers: [] }\n`), /expected spec.containers/);
  assert.match(
    mistakes(`${pod}spec: { containers: [ {} ] }\n---\n${pod}spec: { containers: [ {} ] }\n`),
    /line 6: .*twice/,
  );
  const service = (port: string) =>
    `apiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [ ${port} ] }\n`;
  assert.match(mistakes(service('{ port: 0 }')), /expected a port from 1 to 65535/);
  assert.match(mistakes(service('{ port: 80, nodePort: 80 }')), /expected 30000 to 32767/);
  assert.match(mistakes('- 1\n- 2\n'), /expected an object/);
  assert.is(mistakes('# nothing\n---\n'), '');
  const levels = [1, 2, 3, 4].map(
    (n) =>
      `l${n}: &l${n} [${Array(9)
        .fill(`*l${n - 1}`)
        .join(', ')}]`,
  );
  assert.match(mistakes(`# aliases\nl0: &l0 x\n${levels.join('\n')}\n`), /^line 2: Excessive alias count/);
});

test('what does not fit is refused with its reason', () => {
  const cluster = new PlaygroundCluster(processTraced);
  const { objects } = readManifests(
    'apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec: { nodeName: n9, containers: [ {} ] }\n',
  );
  assert.throws(() => cluster.apply(objects), /spec.nodeName n9: expected n1 or n2/);
});

test.run();
