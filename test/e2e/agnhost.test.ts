/** The image agnhost in pods, used as Kubernetes' own tests use it: probes by exec, and requests from pod to pod. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cluster, dataplane, startCluster } from '../lib/cluster.ts';

const IMAGE = 'registry.k8s.io/e2e-test-images/agnhost:2.53';
const test = suite('agnhost');
let cluster: Cluster;
const addresses = new Map<string, string>();

const pod = (name: string, nodeName: string, args: string[] | undefined, more: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels: { app: name } },
  spec: {
    nodeName,
    terminationGracePeriodSeconds: 1,
    containers: [{ name: 'agnhost', image: IMAGE, ...(args && { args }), ...more }],
  },
});

test.before(async () => {
  const get = { httpGet: { path: '/healthz', port: 8083 } };
  cluster = await startCluster({
    args: ['--nodes', '2'],
    manifests: [
      pod('netserver', 'n1', ['netexec', '--http-port=8083', '--udp-port=8081'], {
        readinessProbe: get,
        livenessProbe: get,
      }),
      pod('client', 'n2', undefined),
      pod('porter', 'n2', ['porter'], { env: [{ name: 'SERVE_PORT_80', value: 'from port 80' }] }),
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'names' },
        spec: {
          type: 'NodePort',
          selector: { app: 'netserver' },
          ports: [
            { name: 'http', port: 80, targetPort: 8083, nodePort: 30090 },
            { name: 'udp', port: 90, protocol: 'UDP', targetPort: 8081 },
          ],
        },
      },
    ],
  });
  for (const name of ['netserver', 'client', 'porter']) {
    const { status } = await cluster.get<{ status: { podIP: string } }>('pod', name);
    addresses.set(name, status.podIP);
  }
});
test.after(async () => {
  await cluster?.down();
});

const inClient = (...command: string[]) => dataplane(['exec', 'client', '--', ...command]);
const connect = async (place: string, ...args: string[]) => {
  const { status, stdout, stderr } = await inClient('/agnhost', 'connect', place, '--timeout=1s', ...args);
  return `${status} ${stdout}${stderr}`.trim();
};

test('connect succeeds by address and by name, over TCP and UDP', async () => {
  assert.is(await connect(`${addresses.get('netserver')}:8083`), '0');
  assert.is(await connect('names:80', '--protocol=tcp'), '0');
  assert.is(await connect('names:90', '--protocol=udp'), '0');
  assert.is(await connect(`${addresses.get('porter')}:80`), '0');
});

test('connect names what is in the way', async () => {
  assert.is(await connect(`${addresses.get('netserver')}:81`), '1 REFUSED');
  assert.match(await connect(`${addresses.get('netserver')}:81`, '--protocol=udp'), /^1 REFUSED: /);
  assert.is(await connect('nobody:80'), '1 DNS: lookup nobody: no such host');
  await cluster.apply({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'deny' },
    spec: { podSelector: { matchLabels: { app: 'porter' } }, policyTypes: ['Ingress'] },
  });
  assert.is(await connect(`${addresses.get('porter')}:80`), '1 TIMEOUT');
  await cluster.cli('delete', 'networkpolicy', 'deny');
});

test('dial: a pod asks another one for its name and for the address it sees', async () => {
  const dial = async (query: string) => {
    const url = `http://${addresses.get('netserver')}:8083/dial?${query}`;
    const { stdout } = await inClient('curl', '-g', '-q', '-s', url);
    return JSON.parse(stdout) as { responses?: string[]; errors?: string[] };
  };
  assert.equal(await dial('request=hostname&protocol=http&host=names&port=80&tries=1'), {
    responses: ['netserver'],
  });
  assert.equal(await dial('request=hostname&protocol=udp&host=names&port=90&tries=2'), {
    responses: ['netserver', 'netserver'],
  });
  assert.equal(await dial(`request=echo%20hi&protocol=udp&host=${addresses.get('netserver')}&port=8081`), {
    responses: ['hi'],
  });
  const { stdout } = await inClient('curl', '-s', `http://${addresses.get('netserver')}:8083/clientip`);
  assert.match(stdout, new RegExp(`^${addresses.get('client')}:\\d+$`));
});

test('a client outside reaches it through a NodePort', async () => {
  assert.is(await cluster.fetch('dp-outside', 'http://172.18.0.12:30090/hostname'), 'netserver');
});

test('the arguments of the container select the command; without any it pauses', async () => {
  assert.is((await cluster.cli('logs', 'client')).trim(), 'Paused');
  assert.is((await inClient('curl', '-s', `http://${addresses.get('porter')}/`)).stdout, 'from port 80');
  assert.match((await inClient('/agnhost', 'dns-suffix')).stdout, 'default.svc.cluster.local,svc.cluster.local');
  assert.is((await inClient('/agnhost', 'dns-server-list')).stdout, '10.96.0.10\n');
  assert.is((await inClient('/agnhost-2', 'entrypoint-tester', 'a')).stdout, '[/agnhost-2 entrypoint-tester a]\n');
});

test('/exit ends the container with its status, and it is restarted', async () => {
  const place = `http://${addresses.get('netserver')}:8083`;
  await inClient('curl', '-s', `${place}/exit?code=3`);
  const ended = await cluster.cli('get', 'pod', 'netserver', '-o', 'json');
  const { status } = JSON.parse(ended) as {
    status: { containerStatuses: { lastState?: { terminated?: { exitCode: number } }; state: object }[] };
  };
  const [container] = status.containerStatuses;
  const terminated =
    container!.lastState?.terminated ?? (container!.state as { terminated?: { exitCode: number } }).terminated;
  assert.is(terminated?.exitCode, 3);
});

test.run();
