/** A Service whose address is in a further ServiceCIDR: reached from pods and nodes, and no longer routed when it is gone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Cluster,
  eventually,
  nodeNetns,
  podNetns,
  processPod,
  startCluster,
  whyNoCluster,
} from '../lib/cluster.ts';
import { testUnless } from '../lib/test-unless.ts';

const why = whyNoCluster();
const clusterTest = testUnless(why);

let cluster: Cluster;
test.before(async () => {
  if (why !== undefined) return;
  const server = processPod('server', 'n2', ['python3', '-m', 'http.server', '8000']);
  cluster = await startCluster({ manifests: [server, processPod('client', 'n1', ['sleep', '1000'])] });
});
test.after(() => cluster?.down());

const ADDRESS = '10.200.0.7';
const PAGE = `http://${ADDRESS}/etc/hostname`;
const routes = async () => (await cluster.exec(nodeNetns('n1'), ['ip', 'route', 'show', ADDRESS])).stdout.trim();

clusterTest('an address of a second ServiceCIDR serves pods and nodes', async () => {
  const range = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'two' },
    spec: { cidrs: ['10.200.0.0/24'] },
  };
  const spec = { clusterIP: ADDRESS, selector: { app: 'server' }, ports: [{ port: 80, targetPort: 8000 }] };
  await cluster.apply(range);
  await eventually(async () => {
    await cluster.apply({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'far' }, spec });
    return true;
  });
  for (const netns of [podNetns('client'), nodeNetns('n1'), nodeNetns('n2')]) {
    assert.is(await eventually(() => cluster.fetch(netns, PAGE)), 'server\n', netns);
  }
  assert.match(await routes(), 'dev dp0');
});

clusterTest('without the Service its address is no longer routed to dp0, and the ServiceCIDR can go', async () => {
  await cluster.cli('delete', 'service', 'far');
  await eventually(async () => (await routes()) === '' || undefined);
  await cluster.cli('delete', 'servicecidr', 'two');
  await eventually(async () => !(await cluster.cli('get', 'servicecidr')).includes('two') || undefined);
});

test.run();
