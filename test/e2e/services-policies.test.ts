/**
 * Which endpoints a client gets, by where it comes from: traffic policies, health checks, source ranges. Named after
 * the Kubernetes end-to-end tests they mirror (kubernetes test/e2e/network/service.go, loadbalancer.go, kube_proxy.go).
 */
import * as assert from 'uvu/assert';
import { eventually, nodeNetns } from '../lib/cluster.ts';
import {
  balancerIp,
  clientOf,
  ECHO,
  echoPod,
  NODE_IPS,
  nodePort,
  OUTSIDE,
  podNetns,
  SILENCE,
  serviceObject,
  sliceObject,
  unique,
  vip,
} from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, PODS, serviceSuite, WEB } from '../lib/services/suite.ts';

const { test, cluster, s } = await serviceSuite('policies', {
  args: ['--load-balancer-pool', '198.51.100.0/28'],
  manifests: PODS,
});
const OUTSIDE_IP = '172.18.0.1';

/** A service whose only endpoint is web-1, on n1. */
const onN1 = (name: string, spec: object) =>
  s.serve(serviceObject(name, undefined, { selector: { only: 'web-1' }, ...spec }), 1);

test('should respect internalTrafficPolicy=Local Pod to Pod', async () => {
  const service = await onN1('itp', { internalTrafficPolicy: 'Local' });
  await s.eventuallyNames(CLIENT_1, vip(service), ['web-1']);
  await s.eventuallyRefused(CLIENT_2, vip(service));
  await s.patch('itp', { internalTrafficPolicy: 'Cluster' });
  await s.eventuallyNames(CLIENT_2, vip(service), ['web-1']);
});

test('should respect internalTrafficPolicy=Local Pod and Node, to Pod (hostNetwork: true)', async () => {
  cluster.start(nodeNetns('n1'), [...ECHO, 'tcp:8090', 'name=host-1']);
  const service = await s.serve(
    serviceObject('itp-host', undefined, { internalTrafficPolicy: 'Local', ports: [{ port: 80, targetPort: 8090 }] }),
  );
  await s.create(sliceObject('itp-host', [{ ip: N1, node: 'n1' }], { port: 8090 }));
  await s.eventuallyNames(CLIENT_1, vip(service), ['host-1']);
  await s.eventuallyNames(nodeNetns('n1'), vip(service), ['host-1']);
  await s.eventuallyRefused(CLIENT_2, vip(service));
  await s.eventuallyRefused(nodeNetns('n2'), vip(service));
});

test('should respect internalTrafficPolicy=Local Pod (hostNetwork: true) to Pod', async () => {
  const service = await onN1('itp-node', { internalTrafficPolicy: 'Local' });
  await s.eventuallyNames(nodeNetns('n1'), vip(service), ['web-1']);
  await s.eventuallyRefused(nodeNetns('n2'), vip(service));
});

test('ETP Local: should work for type=NodePort, preserving the client address', async () => {
  const service = await onN1('etp', { type: 'NodePort', externalTrafficPolicy: 'Local' });
  const port = nodePort(service);
  await s.eventuallyNames(OUTSIDE, `${N1}:${port}`, ['web-1']);
  assert.is(clientOf((await s.ask(OUTSIDE, `${N1}:${port}`))[0]), OUTSIDE_IP);
  assert.ok((await s.eventuallyRefused(OUTSIDE, `${N2}:${port}`)) < 1000);
  // The node itself and its pods reach all endpoints through their own node (the short circuit).
  await s.eventuallyNames(CLIENT_2, `${N2}:${port}`, ['web-1']);
  await s.eventuallyNames(nodeNetns('n2'), `${N2}:${port}`, ['web-1']);
  assert.is(clientOf((await s.ask(CLIENT_2, `${N2}:${port}`))[0]), await s.podIp('client-2'));
});

test('option to drop: no reply for a Local policy without local endpoints, until the option is reset', async () => {
  const service = await onN1('dropped', { type: 'NodePort', externalTrafficPolicy: 'Local' });
  const place = `${N2}:${nodePort(service)}`;
  await s.eventuallyRefused(OUTSIDE, place);
  await s.configure({ localPolicyAction: 'drop' });
  await eventually(async () =>
    (await s.ask(OUTSIDE, place, 1, '--max-time', '0.3'))[0] === SILENCE ? true : undefined,
  );
  // No endpoint anywhere is another matter.
  await s.patch('dropped', { selector: { app: 'nobody' } });
  await s.eventuallyRefused(OUTSIDE, place);
  await s.configure({ localPolicyAction: 'reject' });
  await s.patch('dropped', { selector: { app: null } });
  await s.readyEndpoints('dropped', 1);
  await s.eventuallyRefused(OUTSIDE, place);
});

test('ETP Local: should only target nodes with endpoints', async () => {
  const service = await onN1('lb', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
  const [ip, port] = [balancerIp(service), service.spec.healthCheckNodePort];
  await eventually(async () => ((await s.health(OUTSIDE, `${N1}:${port}`)).status === 200 ? true : undefined));
  assert.equal(await s.health(OUTSIDE, `${N1}:${port}`), {
    status: 200,
    weight: '1',
    body: { service: { namespace: 'default', name: 'lb' }, localEndpoints: 1, serviceProxyHealthy: true },
  });
  const elsewhere = await s.health(OUTSIDE, `${N2}:${port}`);
  assert.equal([elsewhere.status, elsewhere.weight, elsewhere.body.localEndpoints], [503, '0', 0]);
  for (const netns of [CLIENT_1, CLIENT_2, nodeNetns('n1')])
    assert.is((await s.health(netns, `${N1}:${port}`)).status, 200, netns);

  await s.eventuallyNames(OUTSIDE, `${ip}:80`, ['web-1']);
  assert.equal(unique((await s.ask(OUTSIDE, `${ip}:80`, 12)).map(clientOf)), [OUTSIDE_IP]);
  // The endpoint moves to the other node, and the outside follows.
  await s.create(echoPod('moved', 'n2', 'moved'));
  await s.patch('lb', { selector: { only: null, app: 'moved' } });
  await eventually(async () => ((await s.health(OUTSIDE, `${N2}:${port}`)).status === 200 ? true : undefined));
  await s.eventuallyNames(OUTSIDE, `${ip}:80`, ['moved']);
  assert.is((await s.health(OUTSIDE, `${N1}:${port}`)).status, 503);
});

test('ETP Local: should target all nodes with endpoints, should work from pods', async () => {
  const service = await s.serve(
    serviceObject('lb-all', 'web', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' }),
    2,
  );
  const place = `${balancerIp(service)}:80`;
  await s.eventuallyNames(OUTSIDE, place, WEB);
  assert.equal(unique((await s.ask(OUTSIDE, place, 12)).map(clientOf)), [OUTSIDE_IP]);
  for (const client of ['client-1', 'client-2']) {
    await s.eventuallyNames(podNetns(client), place, WEB);
    assert.equal(unique((await s.ask(podNetns(client), place, 12)).map(clientOf)), [await s.podIp(client)]);
  }
});

test('should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes', async () => {
  const service = await onN1('switch', { type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
  const check = service.spec.healthCheckNodePort;
  const place = `${N2}:${nodePort(service)}`;
  await s.eventuallyRefused(OUTSIDE, place);
  await eventually(async () => ((await s.health(OUTSIDE, `${N2}:${check}`)).status === 503 ? true : undefined));
  const now = await s.patch('switch', { externalTrafficPolicy: 'Cluster' });
  assert.is(now.spec.healthCheckNodePort, undefined);
  await s.eventuallyNames(OUTSIDE, place, ['web-1']);
  assert.is.not(clientOf((await s.ask(OUTSIDE, place))[0]), OUTSIDE_IP);
  await s.eventuallyRefused(OUTSIDE, `${N1}:${check}`);
  const again = await s.patch('switch', { externalTrafficPolicy: 'Local' });
  await s.eventuallyRefused(OUTSIDE, place);
  await eventually(async () =>
    (await s.health(OUTSIDE, `${N1}:${again.spec.healthCheckNodePort}`)).status === 200 ? true : undefined,
  );
  assert.is(clientOf((await s.ask(OUTSIDE, `${N1}:${nodePort(again)}`))[0]), OUTSIDE_IP);
});

test('should check kube-proxy urls', async () => {
  for (const node of ['n1', 'n2']) {
    for (const path of ['healthz', 'livez']) {
      const body = JSON.parse(await cluster.fetch(OUTSIDE, `http://${NODE_IPS[node]}:10256/${path}`, '--fail'));
      assert.is(body.nodeEligible, path === 'healthz' ? true : undefined);
      assert.ok(Math.abs(Date.parse(body.lastUpdated) - Date.now()) < 10_000);
    }
    assert.is(await cluster.fetch(nodeNetns(node), 'http://127.0.0.1:10249/proxyMode'), 'dataplane');
    const { stdout } = await cluster.exec(OUTSIDE, ['curl', '-s', '-w', '%{http_code}', `${NODE_IPS[node]}:10256//`]);
    assert.match(stdout, /404$/);
  }
});

test('should only allow access from service loadbalancer source ranges', async () => {
  const [allowed, other] = [await s.podIp('client-1'), await s.podIp('client-2')];
  const service = await s.serve(
    serviceObject('ranges', 'web', { type: 'LoadBalancer', loadBalancerSourceRanges: [`${allowed}/32`] }),
    2,
  );
  const place = `${balancerIp(service)}:80`;
  const denied = async (netns: string) =>
    eventually(async () => ((await s.ask(netns, place, 1, '--max-time', '0.3'))[0] === SILENCE ? true : undefined));
  await s.eventuallyNames(CLIENT_1, place, WEB);
  await denied(CLIENT_2);
  await denied(OUTSIDE);
  // They are about the load balancer's address alone.
  await s.eventuallyNames(OUTSIDE, `${N1}:${nodePort(service)}`, WEB);
  await s.eventuallyNames(CLIENT_2, vip(service), WEB);
  await s.patch('ranges', { loadBalancerSourceRanges: [`${other}/32`, `${OUTSIDE_IP}/32`] });
  await s.eventuallyNames(CLIENT_2, place, WEB);
  await s.eventuallyNames(OUTSIDE, place, WEB);
  await denied(CLIENT_1);
  await s.patch('ranges', { loadBalancerSourceRanges: ['0.0.0.0/1', '128.0.0.0/1'] });
  for (const netns of [CLIENT_1, CLIENT_2, OUTSIDE]) await s.eventuallyNames(netns, place, WEB);
});

test.run();
