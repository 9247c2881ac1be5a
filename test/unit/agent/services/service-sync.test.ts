import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { viewFrontends, viewService } from '../../../../native-free-dataplane/services/inspect.ts';
import { createServices, type ServiceTable, servicesBytes } from '../../../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../../../native-free-dataplane/services/writer.ts';
import { addressWords, formatAddress } from '../../../../native-free-dataplane/wire/address.ts';
import type { RemovedEndpoint } from '../../../../src/agent/connections/ended.ts';
import { ServiceSync, type ServiceSyncOptions } from '../../../../src/agent/services/service-sync.ts';
import { DNS, manyServices, service, slice } from '../../../lib/services/objects.ts';

const SECRET = Int32Array.of(1, 2, 3, 4);

interface SetUp {
  sync: ServiceSync;
  table: ServiceTable;
  /** What was reported since the last look, as `endpoint via addresses`. */
  removed(): string[];
  errors: string[];
  addresses: string[][];
}

function setUp(
  options: Partial<ServiceSyncOptions> = {},
  sizes = { slots: 256, poolWords: 65536, endpoints: 512, affinitySlots: 16 },
): SetUp {
  const table = createServices(new ArrayBuffer(servicesBytes(sizes)), { ...sizes, secret: SECRET });
  const reports: RemovedEndpoint[] = [];
  const errors: string[] = [];
  const addresses: string[][] = [];
  let now = 0;
  const sync = new ServiceSync({
    writer: new ServiceWriter(table),
    place: { nodeName: 'n1' },
    now: () => (now += 100),
    onRemoved: (removed) => reports.push(...removed),
    onError: (name, error) => errors.push(`${name}: ${error.message}`),
    onAddresses: (wanted) => addresses.push([...wanted].sort()),
    ...options,
  });
  const removed = (): string[] =>
    reports.splice(0).map(({ servicePort, address, port }) => {
      const via = servicePort.frontends.map((one) =>
        one.kind === 4 ? `node:${one.port}` : `${formatAddress(one.address)}:${one.port}`,
      );
      return `${port === 0 ? 'untranslated' : `${formatAddress(address)}:${port}`} via ${via.join()}`;
    });
  return { sync, table, removed, errors, addresses };
}

const endpoints = (table: ServiceTable, ip: string, port = 80, protocol = 6): string[] | undefined =>
  viewService(table, protocol, port, addressWords(ip))?.cluster.map((one) => formatAddress(one.address));

test('case 1: endpoints come and go one by one, in any order with their service', () => {
  const { sync, table } = setUp();
  sync.setSlice(slice('a', ['10.0.0.1']));
  assert.is(endpoints(table, '10.96.0.1'), undefined);
  sync.setService(service('a', '10.96.0.1'));
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.1']);
  sync.setSlice(slice('a', ['10.0.0.1', '10.0.0.2']));
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.1', '10.0.0.2']);
  sync.setSlice(slice('a', ['10.0.0.3'], { name: 'a-2' }));
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  sync.removeSlice(slice('a', [], { name: 'a-1' }));
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.3']);
  sync.removeService(service('a', '10.96.0.1'));
  assert.is(endpoints(table, '10.96.0.1'), undefined);
  sync.setService(service('a', '10.96.0.2'));
  assert.equal(endpoints(table, '10.96.0.2'), ['10.0.0.3'], 'slices that arrived before the service are kept');
});

test('cases 3, 12 to 15, 42: ports, type and policy change on a live service', () => {
  const { sync, table, errors } = setUp();
  sync.setSlice(
    slice('a', ['10.0.0.1'], {
      ports: [
        { name: 'http', protocol: 'TCP', port: 8080 },
        { name: 'more', protocol: 'TCP', port: 9 },
      ],
    }),
  );
  sync.setService(service('a', '', { type: 'ExternalName', externalName: 'example.org' }));
  assert.is(viewFrontends(table).length, 0);
  sync.setService(
    service('a', '10.96.0.1', { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30000 }] }),
  );
  assert.ok(viewService(table, 6, 30000));
  sync.setService(
    service('a', '10.96.0.1', {
      ports: [
        { name: 'http', port: 80 },
        { name: 'more', port: 81 },
      ],
    }),
  );
  assert.equal([viewService(table, 6, 30000), endpoints(table, '10.96.0.1', 81)], [undefined, ['10.0.0.1']]);
  sync.setService(service('a', '10.96.0.1', { externalTrafficPolicy: 'Local' }));
  assert.is(viewService(table, 6, 80, addressWords('10.96.0.1'))?.externalLocal, true);
  sync.setService(service('a', '', { type: 'ExternalName', externalName: 'example.org' }));
  assert.is(viewFrontends(table).length, 0);
  assert.equal(errors, []);
});

test('S17: every change that makes UDP flows stale is reported, with the addresses they were opened to', () => {
  const { sync, removed } = setUp();
  const dns = (spec = {}) =>
    service('dns', '10.96.0.10', { ports: [{ ...DNS.service[0]!, nodePort: 30053 }], ...spec });
  const dnsSlice = (ends: string[], port = 5353) =>
    slice('dns', ends, { ports: [{ name: 'dns', protocol: 'UDP', port }] });
  const via = 'via 10.96.0.10:53,node:30053';

  sync.setService(dns());
  assert.equal(removed(), []);
  sync.setSlice(dnsSlice(['10.0.0.1', '10.0.0.2']));
  assert.equal(removed(), [`untranslated ${via}`], '#105657: connections from before there were endpoints');
  sync.setSlice(dnsSlice(['10.0.0.2']));
  assert.equal(removed(), [`10.0.0.1:5353 ${via}`], 'an endpoint removed (#48370)');
  sync.setSlice(dnsSlice(['10.0.0.1', '10.0.0.2 terminating serving']));
  assert.equal(removed(), [], 'one that drains keeps its connections');
  sync.setSlice(dnsSlice(['10.0.0.1']));
  assert.equal(removed(), [`10.0.0.2:5353 ${via}`], 'until it is gone, though no new ones chose it');
  sync.setSlice(dnsSlice(['10.0.0.1 not-ready']));
  assert.equal(removed(), [`10.0.0.1:5353 ${via}`], 'readiness lost');
  sync.setSlice(dnsSlice(['10.0.0.1']));
  assert.equal(removed(), [`untranslated ${via}`]);
  sync.setSlice(dnsSlice(['10.0.0.1'], 5454));
  assert.equal(removed(), [`10.0.0.1:5353 ${via}`], 'the target port changed (PR #130542)');
  sync.setService(dns({ ports: [{ ...DNS.service[0]!, nodePort: 30054 }] }));
  assert.equal(removed(), ['10.0.0.1:5454 via node:30053', 'untranslated via node:30054'], 'another NodePort');
  sync.setSlice(dnsSlice([]));
  assert.equal(removed(), ['10.0.0.1:5454 via 10.96.0.10:53,node:30054'], 'scaled to zero (#139628)');
  sync.setSlice(dnsSlice(['10.0.0.1']));
  removed();
  sync.removeService(dns());
  assert.equal(removed(), ['10.0.0.1:5353 via 10.96.0.10:53,node:30054'], 'the service deleted (PR #141371)');
});

test('nothing is applied until begin: no service is ever applied without its endpoints', () => {
  const { sync, table, removed } = setUp({ held: true });
  sync.setService(service('a', '10.96.0.1'));
  sync.setSlice(slice('a', ['10.0.0.1']));
  assert.is(endpoints(table, '10.96.0.1'), undefined);
  sync.begin();
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.1']);
  assert.is(removed().length, 1);
});

test('a service that does not fit does not affect the others, and is applied when there is room', () => {
  const { sync, table, errors } = setUp({}, { slots: 8, poolWords: 4096, endpoints: 512, affinitySlots: 16 });
  for (const name of ['a', 'b', 'c']) {
    sync.setSlice(slice(name, ['10.0.0.1']));
    sync.setService(service(name, `10.96.0.${name.charCodeAt(0)}`));
  }
  sync.setSlice(slice('d', ['10.0.0.9']));
  sync.setService(service('d', '10.96.0.100'));
  assert.equal(errors, ['default/d: the service table has no room left for another address']);
  assert.equal(endpoints(table, '10.96.0.97'), ['10.0.0.1']);
  for (let i = 0; i < 12; i++) sync.setSlice(slice('a', [`10.0.1.${i}`]));
  sync.removeService(service('a', '10.96.0.97'));
  for (let i = 0; i < 12; i++) sync.setSlice(slice('b', [`10.0.1.${i}`]));
  sync.removeService(service('b', '10.96.0.98'));
  assert.equal(endpoints(table, '10.96.0.100'), ['10.0.0.9']);
});

test('external addresses that must be routed to this node are reported whenever they change, and rejections once', () => {
  const { sync, addresses, errors } = setUp();
  const with_ = (...externalIPs: string[]) => service('a', '10.96.0.1', { externalIPs });
  sync.setService(with_('203.0.113.1'));
  sync.setService(with_('203.0.113.1', '203.0.113.2'));
  sync.setService(service('b', '10.96.0.2', { externalIPs: ['203.0.113.2'], ports: [{ name: 'x', port: 81 }] }));
  sync.setService(with_('203.0.113.1'));
  sync.removeService(service('b', '10.96.0.2'));
  assert.equal(addresses, [['203.0.113.1'], ['203.0.113.1', '203.0.113.2'], ['203.0.113.1']]);
  sync.setService(with_('127.0.0.1'));
  sync.setService(with_('127.0.0.1'));
  assert.equal(errors, ['default/a: not served: address 127.0.0.1: loopback, link-local or multicast']);
});

test('a slice relabelled for another service leaves the first', () => {
  const { sync, table } = setUp();
  sync.setService(service('a', '10.96.0.1'));
  sync.setService(service('b', '10.96.0.2'));
  const old = slice('a', ['10.0.0.1']);
  sync.setSlice(old);
  sync.setSlice({ ...old, metadata: { ...old.metadata, labels: { 'kubernetes.io/service-name': 'b' } } }, old);
  assert.equal([endpoints(table, '10.96.0.1'), endpoints(table, '10.96.0.2')], [[], ['10.0.0.1']]);
});

test("the node's zone changes: hints are evaluated again", () => {
  const { sync, table } = setUp();
  sync.setService(service('a', '10.96.0.1'));
  sync.setSlice(slice('a', ['10.0.0.1 hint=east', '10.0.0.2 hint=west']));
  assert.is(endpoints(table, '10.96.0.1')?.length, 2);
  sync.reconfigure({ nodeName: 'n1', zone: 'west' });
  assert.equal(endpoints(table, '10.96.0.1'), ['10.0.0.2']);
});

test('S13: health checks of services with external policy Local', () => {
  const { sync } = setUp();
  const spec = { type: 'LoadBalancer' as const, externalTrafficPolicy: 'Local' as const, healthCheckNodePort: 30200 };
  sync.setService(service('a', '10.96.0.1', spec));
  sync.setService(service('b', '10.96.0.2', { ...spec, externalTrafficPolicy: 'Cluster' }));
  sync.setSlice(slice('a', ['10.0.0.1@n1', '10.0.0.2@n2']));
  assert.equal(sync.healthChecks(), [{ namespace: 'default', name: 'a', port: 30200, readyEndpoints: 1 }]);
});

test('10,000 services of ten endpoints are applied in less than a second; one change takes well under 5 ms', () => {
  const sizes = { slots: 131072, poolWords: 8 << 20, endpoints: 524288, affinitySlots: 16 };
  const { sync, table, errors } = setUp({ held: true }, sizes);
  const { services, slices } = manyServices(10_000, 10);
  for (const one of slices) sync.setSlice(one);
  for (const one of services) sync.setService(one);
  // Time of this process, so that a busy machine does not count.
  const used = process.cpuUsage();
  sync.begin();
  const { user, system } = process.cpuUsage(used);
  assert.equal(errors, []);
  assert.is(viewFrontends(table).length, 10_000);
  assert.ok((user + system) / 1000 < 1500, `${(user + system) / 1000} ms of processor time, collector included`);
  const times: number[] = [];
  for (let i = 0; i < 100; i++) {
    const one = slice('s5000', [`10.9.0.${i + 1}`]);
    const begin = performance.now();
    sync.setSlice(one);
    times.push(performance.now() - begin);
  }
  times.sort((a, b) => a - b);
  assert.ok(times[50]! < 1, `median ${times[50]} ms`);
});

test('no service has the address of a node, whichever is known first; it is served again once the node is gone (kubernetes #127410)', () => {
  const rules = {
    podCidr: '10.244.0.0/16',
    serviceCidr: '10.96.0.0/12',
    underlayCidr: '172.18.0.0/24',
    externalIpCidrs: ['172.18.0.0/24'],
    loadBalancerPool: [],
  };
  const { sync, errors, addresses } = setUp({ rules });
  sync.setNodeAddress('n1', '172.18.0.11');
  sync.setService(service('a', '10.96.0.1', { externalIPs: ['172.18.0.11', '172.18.0.40'] }));
  assert.equal(errors.splice(0), ['default/a: not served: address 172.18.0.11: an address of a node']);
  assert.equal(addresses.splice(0), [['172.18.0.40']]);
  sync.setNodeAddress('n2', '172.18.0.40');
  assert.is(errors.splice(0).length, 1);
  assert.equal(addresses.splice(0), [[]]);
  sync.setNodeAddress('n2', undefined);
  assert.equal(addresses.splice(0), [['172.18.0.40']]);
  const ingress = [{ ip: '172.18.0.11' }];
  sync.setService(service('b', '10.96.0.2', { type: 'LoadBalancer' }, { ingress }));
  assert.equal(errors.at(-1), 'default/b: not served: address 172.18.0.11: an address of a node');
  assert.equal(addresses, []);
});

test.run();
