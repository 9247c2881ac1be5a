/** Kubernetes' DNS specification 1.1.0, section by section (kubernetes/dns, docs/specification.md). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EndpointSlice, Service } from '../../../src/api/types/objects.ts';
import { ClusterZone, type ZoneAnswer } from '../../../src/dns/cluster-zone.ts';

function service(name: string, spec: object, namespace = 'default'): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec } as unknown as Service;
}

function slice(of: string, endpoints: object[], ports: object[], name = `${of}-1`): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': of } },
    addressType: 'IPv4',
    endpoints,
    ports,
  } as unknown as EndpointSlice;
}

const HTTP = { name: 'http', port: 80, protocol: 'TCP' };

function zoneOf(services: Service[], slices: EndpointSlice[] = []): ClusterZone {
  const zone = new ClusterZone('cluster.local', '10.96.0.10');
  for (const object of slices) zone.setSlice(object);
  for (const object of services) zone.setService(object);
  return zone;
}

const find = (zone: ClusterZone, name: string): ZoneAnswer => zone.find(`${name}.cluster.local`.split('.'));
const addresses = (answer: ZoneAnswer) => answer?.map((record) => ('address' in record ? record.address : record.type));

test('2.2: the version of the schema is a TXT record', () => {
  assert.equal(find(zoneOf([]), 'dns-version'), [{ type: 'TXT', text: '1.1.0' }]);
});

test('2.3.1: a ClusterIP has an A record; other types and names below it do not exist', () => {
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports: [HTTP] })]);
  assert.equal(find(zone, 'web.default.svc'), [{ type: 'A', address: '10.96.3.4' }]);
  assert.is(find(zone, 'nobody.default.svc'), undefined);
  assert.is(find(zone, 'web.other.svc'), undefined);
  assert.is(find(zone, 'x.web.default.svc'), undefined);
  assert.is(find(zone, 'web.default'), undefined);
});

test('2.3.2: a named port of a ClusterIP has an SRV record that leads to the service; an unnamed one has none', () => {
  const ports = [HTTP, { port: 81, protocol: 'TCP' }, { name: 'dns', port: 53, protocol: 'UDP' }];
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports })]);
  const target = 'web.default.svc.cluster.local';
  assert.equal(find(zone, '_http._tcp.web.default.svc'), [{ type: 'SRV', target, port: 80, addresses: ['10.96.3.4'] }]);
  assert.is(find(zone, '_http._udp.web.default.svc'), undefined);
  assert.is(find(zone, '_._tcp.web.default.svc'), undefined);
  assert.equal(find(zone, '_tcp.web.default.svc'), [], 'a name with others below it exists');
  assert.is(find(zone, '_sctp.web.default.svc'), undefined);
});

test('2.3.3: the address of a service has a name', () => {
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports: [HTTP] })]);
  assert.equal(zone.findAddress('10.96.3.4'), [{ type: 'PTR', name: 'web.default.svc.cluster.local' }]);
  assert.is(zone.findAddress('10.96.3.5'), undefined);
  zone.removeService(service('web', {}));
  assert.is(zone.findAddress('10.96.3.4'), undefined);
});

test('2.4: a headless service has the addresses of its ready endpoints, SRV records to each, and names for the named', () => {
  const zone = zoneOf(
    [service('db', { clusterIP: 'None', ports: [HTTP] })],
    [
      slice(
        'db',
        [
          { addresses: ['10.244.1.2'], hostname: 'db-0', conditions: { ready: true } },
          { addresses: ['10.244.2.2'], conditions: {} },
          { addresses: ['10.244.2.3'], hostname: 'db-2', conditions: { ready: false } },
        ],
        [HTTP],
      ),
    ],
  );
  assert.equal(addresses(find(zone, 'db.default.svc')), ['10.244.1.2', '10.244.2.2']);
  assert.equal(addresses(find(zone, 'db-0.db.default.svc')), ['10.244.1.2']);
  assert.equal(addresses(find(zone, '10-244-2-2.db.default.svc')), ['10.244.2.2']);
  assert.is(find(zone, 'db-2.db.default.svc'), undefined);
  assert.equal(
    find(zone, '_http._tcp.db.default.svc')?.map((record) => record.type === 'SRV' && [record.target, record.port]),
    [
      ['db-0.db.default.svc.cluster.local', 80],
      ['10-244-2-2.db.default.svc.cluster.local', 80],
    ],
  );
  assert.equal(zone.findAddress('10.244.1.2'), [{ type: 'PTR', name: 'db-0.db.default.svc.cluster.local' }]);
  assert.is(zone.findAddress('10.244.2.2'), undefined);
});

test('2.4.1: a headless service without a ready endpoint does not exist, unless it publishes those that are not ready', () => {
  const endpoints = [{ addresses: ['10.244.1.2'], conditions: { ready: false } }];
  const headless = { clusterIP: 'None', ports: [HTTP] };
  assert.is(find(zoneOf([service('db', headless)], [slice('db', endpoints, [HTTP])]), 'db.default.svc'), undefined);
  const open = service('db', { ...headless, publishNotReadyAddresses: true });
  assert.equal(addresses(find(zoneOf([open], [slice('db', endpoints, [HTTP])]), 'db.default.svc')), ['10.244.1.2']);
});

test('2.5: an ExternalName is an alias', () => {
  const zone = zoneOf([service('ext', { type: 'ExternalName', externalName: 'example.com.' })]);
  assert.equal(find(zone, 'ext.default.svc'), [{ type: 'CNAME', name: 'example.com' }]);
});

test('pods have names by their address, in namespaces that exist', () => {
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports: [HTTP] })]);
  assert.equal(addresses(find(zone, '10-244-1-2.default.pod')), ['10.244.1.2']);
  for (const name of [
    '10-244-1.default.pod',
    '10-244-1-256.default.pod',
    '010-1-1-1.default.pod',
    '10-1-1-1.nobody.pod',
  ]) {
    assert.is(find(zone, name), undefined, name);
  }
});

test('a name with names below it exists and has no records', () => {
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports: [HTTP] })]);
  for (const name of ['svc', 'default.svc', 'pod', 'default.pod', 'dns']) assert.equal(find(zone, name), [], name);
  assert.equal(find(zone, 'ns.dns'), [{ type: 'A', address: '10.96.0.10' }]);
});

test('changes apply: type, endpoints, a slice that moves to another service', () => {
  const zone = zoneOf([service('web', { clusterIP: '10.96.3.4', ports: [HTTP] })]);
  const endpoints = [{ addresses: ['10.244.1.2'], conditions: {} }];
  const own = slice('web', endpoints, [HTTP], 's');
  zone.setSlice(own);
  zone.setService(service('web', { clusterIP: 'None', ports: [HTTP] }));
  assert.equal(addresses(find(zone, 'web.default.svc')), ['10.244.1.2']);
  assert.is(zone.findAddress('10.96.3.4'), undefined);
  zone.setService(service('other', { clusterIP: 'None', ports: [HTTP] }));
  zone.setSlice(slice('other', endpoints, [HTTP], 's'), own);
  assert.is(find(zone, 'web.default.svc'), undefined);
  assert.equal(addresses(find(zone, 'other.default.svc')), ['10.244.1.2']);
  zone.removeSlice(slice('other', endpoints, [HTTP], 's'));
  assert.is(find(zone, 'other.default.svc'), undefined);
});

test('endpoints in several slices with different ports are one endpoint with all of them', () => {
  const endpoints = [{ addresses: ['10.244.1.2'], hostname: 'a', conditions: {} }];
  const admin = { name: 'admin', port: 9000, protocol: 'TCP' };
  const zone = zoneOf(
    [service('db', { clusterIP: 'None', ports: [HTTP, admin] })],
    [slice('db', endpoints, [HTTP], 'one'), slice('db', endpoints, [admin], 'two')],
  );
  assert.equal(addresses(find(zone, 'db.default.svc')), ['10.244.1.2']);
  assert.is(find(zone, '_admin._tcp.db.default.svc')?.length, 1);
});

test.run();
