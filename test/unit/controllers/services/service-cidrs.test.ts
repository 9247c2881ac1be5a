/** ServiceCIDRs and IPAddresses: each ClusterIP has its object, and further networks extend the addresses. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { IPAddress, Manifest, ServiceCIDR } from '../../../../src/api/types/objects.ts';
import { eventually, refusal, service, type TestCluster, withCluster } from '../test-cluster.ts';

type Client = TestCluster['client'];
const SMALL = { options: { serviceCidr: '10.96.0.0/28' } };

const serviceCidr = (name: string, ...cidrs: string[]) =>
  ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name },
    spec: { cidrs },
  }) as Manifest<ServiceCIDR>;
const addresses = async (client: Client) => (await client.list('IPAddress')).items.map(({ metadata }) => metadata.name);
const readyOf = async (client: Client, name: string) => {
  const object = await client.find('ServiceCIDR', name);
  return object?.status?.conditions?.find(({ type }) => type === 'Ready');
};
const fill = async (client: Client) => {
  for (let i = 0; i < 13; i++) await client.create(service(`s${i}`));
};

test(
  'ServiceCIDR kubernetes is there, Ready, and made again',
  withCluster(async ({ client }) => {
    const check = async () => {
      const { spec, metadata } = await client.get('ServiceCIDR', 'kubernetes');
      assert.equal(spec.cidrs, ['10.96.0.0/12']);
      assert.equal(metadata.finalizers, ['networking.k8s.io/service-cidr-finalizer']);
      const { status, message } = (await readyOf(client, 'kubernetes'))!;
      assert.equal([status, message], ['True', 'Kubernetes default Service CIDR is ready']);
    };
    await eventually(() => check().then(() => true));
    const { metadata } = await client.get('ServiceCIDR', 'kubernetes');
    await client.delete('ServiceCIDR', 'kubernetes');
    await eventually(
      async () =>
        (await client.find('ServiceCIDR', 'kubernetes'))?.metadata.uid !== metadata.uid && check().then(() => true),
    );
  }),
);

test(
  'a ClusterIP has its IPAddress as soon as the Service exists; it goes with the Service and comes back if removed',
  withCluster(async ({ client, restart }) => {
    const { spec } = await client.create(service('web'));
    const object = await client.get('IPAddress', spec.clusterIP!);
    assert.equal(object.spec, { parentRef: { resource: 'services', namespace: 'default', name: 'web' } });
    assert.equal(object.metadata.labels, {
      'ipaddress.kubernetes.io/ip-family': 'IPv4',
      'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
    });
    await client.create(service('headless', { clusterIP: 'None' }));
    assert.is((await addresses(client)).length, 1);
    await client.delete('IPAddress', spec.clusterIP!);
    await eventually(() => client.find('IPAddress', spec.clusterIP!));
    await restart();
    assert.equal(await addresses(client), [spec.clusterIP]);
    await client.patch('Service', 'web', { spec: { type: 'ExternalName', externalName: 'example.com' } });
    assert.equal(await addresses(client), []);
    await client.patch('Service', 'web', { spec: { type: 'ClusterIP', externalName: null } });
    await client.delete('Service', 'web');
    assert.equal(await addresses(client), []);
  }),
);

test(
  'an address that an IPAddress of a user reserves is not allocated',
  withCluster(async ({ client }) => {
    const reserved = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'IPAddress',
      metadata: { name: '10.96.0.9' },
      spec: { parentRef: { group: 'example.com', resource: 'routers', name: 'r' } },
    } as Manifest<IPAddress>;
    await client.create(reserved);
    assert.match(
      (await refusal(client.create(service('a', { clusterIP: '10.96.0.9' })))).message,
      'failed to allocate IP 10.96.0.9: provided IP is already allocated',
    );
    for (let i = 0; i < 12; i++) await client.create(service(`s${i}`));
    assert.match((await refusal(client.create(service('more')))).message, 'range is full');
    await client.delete('IPAddress', '10.96.0.9');
    assert.is((await client.create(service('more'))).spec.clusterIP, '10.96.0.9');
  }, SMALL),
);

test(
  'a second ServiceCIDR extends the addresses, and goes only when its last address is free',
  withCluster(async ({ client, restart }) => {
    await fill(client);
    assert.match((await refusal(client.create(service('more')))).message, 'range is full');
    const outside = 'failed to allocate IP 10.200.0.5: the provided network does not match the current range';
    assert.match((await refusal(client.create(service('x', { clusterIP: '10.200.0.5' })))).message, outside);
    await client.create(serviceCidr('two', '10.200.0.0/28'));
    await eventually(async () => (await readyOf(client, 'two'))?.status === 'True');
    assert.match((await client.create(service('more'))).spec.clusterIP!, /^10\.200\.0\.\d+$/);
    assert.is((await client.create(service('x', { clusterIP: '10.200.0.5' }))).spec.clusterIP, '10.200.0.5');
    await restart();
    assert.match((await client.create(service('after'))).spec.clusterIP!, /^10\.200\.0\.\d+$/);
    await client.delete('ServiceCIDR', 'two');
    const blocked = await eventually(async () => {
      const condition = await readyOf(client, 'two');
      return condition?.status === 'False' && condition;
    });
    assert.is(blocked.reason, 'Terminating');
    assert.match(blocked.message!, 'There are still IPAddresses referencing the ServiceCIDR');
    assert.match((await refusal(client.create(service('late')))).message, 'range is full');
    for (const name of ['more', 'x', 'after']) await client.delete('Service', name);
    await eventually(async () => (await client.find('ServiceCIDR', 'two')) === undefined);
  }, SMALL),
);

test(
  'networks that are none, that change, or that the cluster uses otherwise are refused',
  withCluster(async ({ client }) => {
    const why = async (...cidrs: string[]) => (await refusal(client.create(serviceCidr('x', ...cidrs)))).message;
    const invalid = (text: string, what: string) =>
      `ServiceCIDR.networking.k8s.io "x" is invalid: spec.cidrs[0]: Invalid value: "${text}": ${what}`;
    assert.is(await why('10.200.0.7/24'), invalid('10.200.0.7/24', 'must not have bits set beyond the prefix length'));
    assert.is(await why('here'), invalid('here', 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'));
    assert.match(await why(), 'spec.cidrs: Required value: at least one CIDR required');
    assert.match(await why('10.244.7.0/24'), "10.244.7.0/24 overlaps with the cluster's network 10.244.0.0/16");
    await client.create(serviceCidr('x', '10.200.0.0/24'));
    assert.match(
      (await refusal(client.patch('ServiceCIDR', 'x', { spec: { cidrs: ['10.201.0.0/24'] } }))).message,
      'spec.cidrs[0]: Invalid value: "10.201.0.0/24": field is immutable',
    );
  }),
);

test.run();
