/**
 * The addresses a service can be reached at, from pods, nodes and outside. Named after the Kubernetes end-to-end tests
 * they mirror (kubernetes test/e2e/network/service.go, networking.go).
 */
import * as assert from 'uvu/assert';
import { eventually, nodeNetns } from '../lib/cluster.ts';
import { balancerIp, nodePort, OUTSIDE, REFUSED, serviceObject, vip } from '../lib/services/services.ts';
import { CLIENT_1, CLIENT_2, N1, N2, PODS, serviceSuite, WEB } from '../lib/services/suite.ts';

const { test, cluster, s } = await serviceSuite('addresses', {
  args: [
    '--load-balancer-pool',
    '198.51.100.0/28',
    '--external-ip-cidr',
    '203.0.113.0/24',
    '--external-ip-cidr',
    '172.18.0.192/28',
  ],
  manifests: PODS,
});

test('should be able to create a functioning NodePort service', async () => {
  const service = await s.serve(serviceObject('np', 'web', { type: 'NodePort' }), 2);
  const port = nodePort(service);
  for (const netns of [OUTSIDE, CLIENT_1, nodeNetns('n1'), nodeNetns('n2')]) {
    for (const node of [N1, N2]) await s.eventuallyNames(netns, `${node}:${port}`, WEB);
  }
  await s.eventuallyNames(nodeNetns('n1'), `127.0.0.1:${port}`, WEB);
  assert.equal(await s.names(CLIENT_1, vip(service)), WEB);
});

test('should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node', async () => {
  const service = await s.serve(serviceObject('ext', 'web', { externalIPs: ['203.0.113.250'] }), 2);
  for (const netns of [CLIENT_1, CLIENT_2, nodeNetns('n1'), OUTSIDE]) {
    await s.eventuallyNames(netns, '203.0.113.250:80', WEB);
  }
  assert.equal(await s.names(CLIENT_1, vip(service)), WEB);
  assert.equal(await s.ask(CLIENT_1, '203.0.113.250:81'), [REFUSED]);
  assert.is((await cluster.exec(CLIENT_1, ['ping', '-c', '1', '-W', '1', '203.0.113.250'])).status, 0);
});

test('an external IP of the underlay is served by the node that answers ARP for it, as MetalLB has one do', async () => {
  await s.serve(serviceObject('l2', 'web', { externalIPs: ['172.18.0.200'] }), 2);
  // The outside's route stands for BGP: without it, the address is looked for on the segment.
  await s.eventuallyNames(OUTSIDE, '172.18.0.200:80', WEB);
  assert.is((await cluster.exec(OUTSIDE, ['ip', 'route', 'del', '172.18.0.200'])).status, 0);
  assert.match((await s.ask(OUTSIDE, '172.18.0.200:80'))[0] ?? '', /^!/, 'nobody answers');
  const proxy = ['ip', 'neigh', 'add', 'proxy', '172.18.0.200', 'dev', 'eth0'];
  assert.is((await cluster.exec(nodeNetns('n1'), proxy)).status, 0);
  await s.eventuallyNames(OUTSIDE, '172.18.0.200:80', WEB);
  await s.eventuallyNames(CLIENT_2, '172.18.0.200:80', WEB);
});

test('an external IP outside the allowed networks is refused (CVE-2020-8554)', async () => {
  for (const ip of ['8.8.8.8', '10.244.1.2', '172.18.0.12']) {
    const refusal = await s.create(serviceObject('thief', 'web', { externalIPs: [ip] })).catch((e: Error) => e);
    assert.instance(refusal, Error);
    assert.match((refusal as Error).message, 'is not in a network allowed for external IPs (203.0.113.0/24');
  }
});

test('an external IP that the cluster no longer allows is no longer served, and an event reports it', async () => {
  const service = await s.serve(serviceObject('was-allowed', 'web', { externalIPs: ['203.0.113.9'] }), 2);
  await s.eventuallyNames(CLIENT_1, '203.0.113.9', WEB);
  await s.configure({ externalIpCidrs: [] });
  await s.eventuallySilent(CLIENT_1, '203.0.113.9');
  assert.equal(await s.names(CLIENT_1, vip(service)), WEB);
  const event = await eventually(async () =>
    (await s.api.list('Event', { namespace: 'default' })).items.find(({ reason }) => reason === 'NotServed'),
  );
  assert.is(event.involvedObject.name, 'was-allowed');
  assert.is(event.message, 'not served: address 203.0.113.9: not in the cluster option externalIpCidrs');
  await s.configure({ externalIpCidrs: ['203.0.113.0/24'] });
  await s.eventuallyNames(OUTSIDE, '203.0.113.9', WEB);
});

test('should be able to update service type to NodePort listening on same port number but different protocols', async () => {
  const ports = [
    { name: 'tcp', port: 80, protocol: 'TCP' as const },
    { name: 'udp', port: 80, protocol: 'UDP' as const },
  ];
  await s.serve(serviceObject('both', 'web', { ports: ports.slice(0, 1) }), 2);
  const { spec } = await s.patch('both', { type: 'NodePort', ports });
  const [tcp, datagrams] = spec.ports ?? [];
  assert.is(tcp?.nodePort, datagrams?.nodePort);
  await s.eventuallyNames(OUTSIDE, `${N1}:${tcp?.nodePort}`, WEB);
  await s.eventuallyDatagram(OUTSIDE, `${N2}:${datagrams?.nodePort}`, WEB);
});

test('should be able to change the type from ExternalName to ClusterIP', async () => {
  await s.create(serviceObject('alias', undefined, { type: 'ExternalName', externalName: 'example.com' }));
  const service = await s.patch('alias', { type: 'ClusterIP', externalName: null, selector: { app: 'web' } });
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
});

test('should be able to change the type from ExternalName to NodePort', async () => {
  await s.create(serviceObject('alias', undefined, { type: 'ExternalName', externalName: 'example.com' }));
  const service = await s.patch('alias', { type: 'NodePort', externalName: null, selector: { app: 'web' } });
  await s.eventuallyNames(OUTSIDE, `${N2}:${nodePort(service)}`, WEB);
});

test('should be able to change the type from ClusterIP to ExternalName', async () => {
  const service = await s.serve(serviceObject('leaves', 'web'), 2);
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  const now = await s.patch('leaves', { type: 'ExternalName', externalName: 'example.com', clusterIP: null });
  assert.is(now.spec.clusterIP, undefined);
  await s.readyEndpoints('leaves', 0);
  assert.match((await s.ask(CLIENT_1, vip(service), 1, '--max-time', '0.5'))[0] ?? '', /^!/);
});

test('should be able to change the type from NodePort to ExternalName', async () => {
  const service = await s.serve(serviceObject('leaves', 'web', { type: 'NodePort' }), 2);
  const place = `${N1}:${nodePort(service)}`;
  await s.eventuallyNames(OUTSIDE, place, WEB);
  await s.patch('leaves', { type: 'ExternalName', externalName: 'example.com', clusterIP: null, ports: null });
  await s.eventuallyRefused(OUTSIDE, place);
});

test('should be able to change the type and ports of the service', async () => {
  const service = await s.serve(serviceObject('moving', 'web'), 2);
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  const port = nodePort(await s.patch('moving', { type: 'NodePort' }));
  await s.eventuallyNames(OUTSIDE, `${N1}:${port}`, WEB);
  const balanced = await s.patch('moving', { type: 'LoadBalancer' });
  const ip = balancerIp(balanced);
  assert.match(ip, /^198\.51\.100\./);
  assert.is(nodePort(balanced), port);
  await s.eventuallyNames(OUTSIDE, `${ip}:80`, WEB);
  for (const netns of [CLIENT_1, nodeNetns('n1'), nodeNetns('n2')]) await s.eventuallyNames(netns, `${ip}:80`, WEB);
  await s.patch('moving', { ports: [{ port: 8081, targetPort: 81, nodePort: port }] });
  await s.eventuallyNames(OUTSIDE, `${ip}:8081`, WEB);
  await s.eventuallyNames(OUTSIDE, `${N2}:${port}`, WEB);
  assert.equal(await s.ask(OUTSIDE, `${ip}:80`), [REFUSED]);
  await s.patch('moving', { type: 'ClusterIP', ports: [{ port: 80 }] });
  await s.eventuallyRefused(OUTSIDE, `${N1}:${port}`);
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  assert.match((await s.ask(OUTSIDE, `${ip}:80`, 1, '--max-time', '0.5'))[0] ?? '', /^!/);
});

test('should be able to create LoadBalancer Service without NodePort and change it', async () => {
  const spec = { type: 'LoadBalancer' as const, allocateLoadBalancerNodePorts: false };
  const service = await s.serve(serviceObject('no-np', 'web', spec), 2);
  assert.is(service.spec.ports?.[0]?.nodePort, undefined);
  await s.eventuallyNames(OUTSIDE, `${balancerIp(service)}:80`, WEB);
  const now = await s.patch('no-np', { allocateLoadBalancerNodePorts: true });
  await s.eventuallyNames(OUTSIDE, `${N1}:${nodePort(now)}`, WEB);
});

test('should prevent NodePort collisions', async () => {
  const ports = [{ port: 80, nodePort: 31500 }];
  await s.create(serviceObject('first', 'web', { type: 'NodePort', ports }));
  const refusal = await s.create(serviceObject('second', 'web', { type: 'NodePort', ports })).catch((e: Error) => e);
  assert.match((refusal as Error).message, 'provided port is already allocated');
});

test('should check NodePort out-of-range', async () => {
  const ports = [{ port: 80, nodePort: 29999 }];
  const refusal = await s.create(serviceObject('low', 'web', { type: 'NodePort', ports })).catch((e: Error) => e);
  assert.match((refusal as Error).message, 'The range of valid ports is 30000-32767');
  await s.create(serviceObject('fits', 'web', { type: 'NodePort' }));
  const later = await s.patch('fits', { ports: [{ port: 80, nodePort: 40000 }] }).catch((e: Error) => e);
  assert.match((later as Error).message, 'The range of valid ports is 30000-32767');
});

test('should release NodePorts on delete', async () => {
  const object = serviceObject('again', 'web', { type: 'NodePort', ports: [{ port: 80, nodePort: 31501 }] });
  await s.serve(object, 2);
  await s.eventuallyNames(OUTSIDE, `${N1}:31501`, WEB);
  await s.remove('Service', 'again');
  await s.eventuallyRefused(OUTSIDE, `${N1}:31501`);
  await s.serve(object, 2);
  await s.eventuallyNames(OUTSIDE, `${N1}:31501`, WEB);
});

test('a service recreated with the same address leads only to the new endpoints', async () => {
  const service = await s.serve(serviceObject('twice', 'web'), 2);
  const clusterIP = vip(service);
  await s.eventuallyNames(CLIENT_1, clusterIP, WEB);
  await s.remove('Service', 'twice');
  await s.gone('Service', 'twice');
  await s.serve(serviceObject('twice', 'other', { clusterIP }), 1);
  await s.eventuallyNames(CLIENT_1, clusterIP, ['other']);
  assert.equal(await s.names(CLIENT_1, clusterIP, 30), ['other']);
});

test('should be rejected when no endpoints exist', async () => {
  const spec = { type: 'LoadBalancer' as const, externalIPs: ['203.0.113.7'] };
  const service = await s.serve(serviceObject('empty', 'nobody', spec), 0);
  const [ip, port] = [balancerIp(service), nodePort(service)];
  for (const netns of [CLIENT_1, CLIENT_2, nodeNetns('n1'), OUTSIDE]) {
    for (const place of [`${N1}:${port}`, `${N2}:${port}`, `${ip}:80`, '203.0.113.7:80']) {
      const took = await s.eventuallyRefused(netns, place);
      assert.ok(took < 1000, `${place} from ${netns} took ${took} ms`);
    }
    if (netns !== OUTSIDE) assert.ok((await s.eventuallyRefused(netns, vip(service))) < 1000);
  }
  const datagrams = await s.serveUdp('empty-udp', 'nobody', 0);
  for (const netns of [CLIENT_1, nodeNetns('n1')]) {
    await s.eventuallyDatagram(netns, `${vip(datagrams)}:80`, ['!refused']);
  }
});

test('an unused port of a service address is refused, and its ping answered', async () => {
  const service = await s.serve(serviceObject('live', 'web'), 2);
  await s.eventuallyNames(CLIENT_1, vip(service), WEB);
  for (const netns of [CLIENT_1, nodeNetns('n1')]) {
    assert.equal(await s.ask(netns, `${vip(service)}:9999`), [REFUSED]);
    assert.is(await s.datagram(netns, `${vip(service)}:9999`), '!refused');
    assert.is((await cluster.exec(netns, ['ping', '-c', '1', '-W', '1', vip(service)])).status, 0, netns);
  }
});

test.run();
