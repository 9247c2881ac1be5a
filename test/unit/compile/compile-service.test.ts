import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { type CompiledService, compileService } from '../../../src/compile/compile-service.ts';
import { RULES, service, slice } from '../../lib/services/objects.ts';

const HERE = { nodeName: 'n1' };
const KINDS = ['', 'cluster', 'external', 'balancer', 'node'];

function addresses({ ports }: CompiledService): string[] {
  return ports.flatMap(({ frontends }) =>
    frontends.map(({ kind, address, port }) => `${KINDS[kind]} ${kind === 4 ? '' : formatAddress(address)}:${port}`),
  );
}

test('a service with two ports is two service ports, each with its endpoints', () => {
  const ports = [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'dns', port: 53, protocol: 'UDP' as const },
  ];
  const endpoints = slice('a', ['10.0.0.1'], {
    ports: [
      { name: 'http', protocol: 'TCP', port: 8080 },
      { name: 'dns', protocol: 'UDP', port: 5353 },
    ],
  });
  const { ports: compiled } = compileService(service('a', '10.96.0.1', { ports }), [endpoints], HERE);
  assert.equal(
    compiled.map(({ name, protocol, cluster }) => [name, protocol, cluster[0]?.port]),
    [
      ['default/a:http/TCP', 6, 8080],
      ['default/a:dns/UDP', 17, 5353],
    ],
  );
});

for (const [name, spec, labels] of [
  ['headless', { clusterIP: 'None' }, {}],
  ['ExternalName', { type: 'ExternalName', clusterIP: '' }, {}],
  ['without an address yet', { clusterIP: '' }, {}],
  ['of another proxy', {}, { 'service.kubernetes.io/service-proxy-name': 'x' }],
  ['labelled headless', {}, { 'service.kubernetes.io/headless': '' }],
] as const) {
  test(`not served: ${name}`, () => {
    assert.equal(compileService(service('a', '10.96.0.1', spec, { labels }), [], HERE).ports, []);
  });
}

test('a port is served on its ClusterIP, external IPs, load-balancer IPs and NodePort', () => {
  const rules = { ...RULES, externalIpCidrs: ['203.0.113.0/24'], loadBalancerPool: ['192.0.2.1-192.0.2.9'] };
  const lb = service(
    'a',
    '10.96.0.1',
    { type: 'LoadBalancer', externalIPs: ['203.0.113.250'], ports: [{ name: 'http', port: 80, nodePort: 30080 }] },
    { ingress: [{ ip: '192.0.2.5' }, { ip: '192.0.2.6', ipMode: 'Proxy' }] },
  );
  const compiled = compileService(lb, [], HERE, rules);
  assert.equal(addresses(compiled), [
    'cluster 10.96.0.1:80',
    'external 203.0.113.250:80',
    'balancer 192.0.2.5:80',
    'node :30080',
  ]);
  assert.equal(compiled.refused, []);
});

test('CVE-2020-8554, kubernetes #97076: external and load-balancer addresses the operator did not list are not served, and reported', () => {
  const given = ['8.8.8.8', '10.244.1.5', '10.96.0.10', '127.0.0.1', '169.254.169.254', '172.18.0.12'];
  const external = service('a', '10.96.0.1', { externalIPs: given });
  const compiled = compileService(external, [], HERE, { ...RULES, externalIpCidrs: ['10.0.0.0/8'] });
  assert.equal(addresses(compiled), ['cluster 10.96.0.1:80']);
  assert.equal(compiled.refused, [
    'address 8.8.8.8: not in the cluster option externalIpCidrs',
    'address 10.244.1.5: an address of the pod network',
    'address 10.96.0.10: an address of the service network',
    'address 127.0.0.1: loopback, link-local or multicast',
    'address 169.254.169.254: loopback, link-local or multicast',
    'address 172.18.0.12: not in the cluster option externalIpCidrs',
  ]);
  const balancer = service('a', '10.96.0.1', { type: 'LoadBalancer' }, { ingress: [{ ip: '8.8.8.8' }] });
  assert.equal(compileService(balancer, [], HERE, RULES).refused, [
    'address 8.8.8.8: not in the cluster option loadBalancerPool',
  ]);
  const clusterIp = service('a', '10.96.0.1', {}, { ingress: [{ ip: '192.0.2.5' }] });
  assert.equal(addresses(compileService(clusterIp, [], HERE)), ['cluster 10.96.0.1:80'], 'the status of no balancer');
});

test('policies, affinity and balancing follow from the objects', () => {
  const [plain] = compileService(service('a', '10.96.0.1'), [], HERE).ports;
  assert.equal(
    [plain?.affinitySeconds, plain?.internalLocal, plain?.externalLocal, plain?.maglev, plain?.restricted],
    [0, false, false, false, undefined],
  );
  const special = service(
    'a',
    '10.96.0.1',
    { sessionAffinity: 'ClientIP', internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' },
    { annotations: { 'dataplane.dev/load-balancing': 'maglev' } },
  );
  const [port] = compileService(special, [], HERE).ports;
  assert.equal(
    [port?.affinitySeconds, port?.internalLocal, port?.externalLocal, port?.maglev],
    [10800, true, true, true],
  );
  special.spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: 7 } };
  assert.is(compileService(special, [], HERE).ports[0]?.affinitySeconds, 7);
});

test('S11: source ranges apply only to type LoadBalancer; a list without an IPv4 network admits no client', () => {
  const ranges = { loadBalancerSourceRanges: [' 0.0.0.0/1', '128.0.0.0/1'] };
  assert.is(compileService(service('a', '10.96.0.1', ranges), [], HERE).ports[0]?.sourceRanges.length, 0);
  const [open] = compileService(service('a', '10.96.0.1', { type: 'LoadBalancer', ...ranges }), [], HERE).ports;
  assert.equal(
    open?.sourceRanges.map(({ prefix }) => prefix),
    [97, 97],
  );
  const six = service('a', '10.96.0.1', { type: 'LoadBalancer', loadBalancerSourceRanges: ['fd00::/8', 'x'] });
  const compiled = compileService(six, [], HERE);
  assert.equal([compiled.ports[0]?.sourceRanges.length, compiled.ports[0]?.restricted], [0, true]);
  assert.equal(compiled.refused, ['source range x: no network']);
});

test.run();
