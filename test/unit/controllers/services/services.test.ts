import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Service } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, refusal, service, withCluster } from '../test-cluster.ts';

const nodePort = (name: string, port?: number, protocol: 'TCP' | 'UDP' = 'TCP') =>
  service(name, { type: 'NodePort', ports: [{ port: 80, protocol, ...(port && { nodePort: port }) }] });
const range = { options: { serviceCidr: '10.96.0.0/28', nodePortRange: [30000, 30003] as const } };

test(
  'a service gets an address of the range and keeps it across updates and restarts',
  withCluster(async (cluster) => {
    const { client } = cluster;
    const made = await client.create(service('web', { selector: { app: 'web' } }));
    assert.match(made.spec.clusterIP!, /^10\.96\./);
    assert.equal(made.spec.clusterIPs, [made.spec.clusterIP]);
    assert.is(made.spec.sessionAffinity, 'None');
    assert.is(made.spec.internalTrafficPolicy, 'Cluster');
    assert.equal(made.spec.ports, [{ port: 80, protocol: 'TCP', targetPort: 80 }]);
    const { clusterIP, clusterIPs, ...rest } = made.spec;
    const put = await client.update<Service>({ ...made, spec: { ...rest, ports: [{ port: 81 }] } });
    assert.is(put.spec.clusterIP, clusterIP);
    await cluster.restart();
    assert.is((await client.get('Service', 'web', 'default')).spec.clusterIP, clusterIP);
    assert.is.not((await client.create(service('other'))).spec.clusterIP, clusterIP);
  }),
);

test(
  'a requested address is granted if it is free, else refused with the text of Kubernetes',
  withCluster(async ({ client }) => {
    assert.is((await client.create(service('dns', { clusterIP: '10.96.0.10' }))).spec.clusterIP, '10.96.0.10');
    const taken = await refusal(client.create(service('dns2', { clusterIP: '10.96.0.10' })));
    assert.is(taken.code, 422);
    assert.match(taken.message, 'failed to allocate IP 10.96.0.10: provided IP is already allocated');
    const outside = await refusal(client.create(service('out', { clusterIP: '10.200.0.1' })));
    assert.match(
      outside.message,
      'failed to allocate IP 10.200.0.1: the provided network does not match the current range',
    );
    const moved = await refusal(client.patch('Service', 'dns', { spec: { clusterIP: '10.96.0.11' } }));
    assert.match(moved.message, 'may not change once set');
    assert.is(moved.status.details?.causes?.[0]?.field, 'spec.clusterIPs[0]');
  }),
);

test(
  'no address is allocated twice, all are used, and a full range is reported',
  withCluster(async ({ client }) => {
    const seen = new Set<string>();
    for (let i = 0; i < 13; i++) seen.add((await client.create(service(`s${i}`))).spec.clusterIP!);
    assert.is(seen.size, 13);
    assert.not(seen.has('10.96.0.0') || seen.has('10.96.0.1') || seen.has('10.96.0.15'));
    assert.match((await refusal(client.create(service('more')))).message, 'range is full');
    await client.delete('Service', 's3');
    await client.create(service('more'));
  }, range),
);

test(
  'headless and ExternalName services have no address',
  withCluster(async ({ client }) => {
    const headless = await client.create(service('headless', { clusterIP: 'None' }));
    assert.equal(headless.spec.clusterIPs, ['None']);
    const alias = await client.create(service('alias', { type: 'ExternalName', externalName: 'example.com' }));
    assert.is(alias.spec.clusterIP, undefined);
  }),
);

test(
  'NodePorts are allocated per protocol, refused if in use or out of range, and released on deletion',
  withCluster(async ({ client }) => {
    await client.create(nodePort('a', 30001));
    const taken = await refusal(client.create(nodePort('b', 30001)));
    assert.is(
      taken.message,
      'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated',
    );
    await client.create(nodePort('udp', 30001, 'UDP'));
    const outside = await refusal(client.create(nodePort('c', 29999)));
    assert.match(outside.message, 'provided port is not in the valid range. The range of valid ports is 30000-30003');
    const ports = new Set<number>();
    for (const name of ['d', 'e', 'f']) ports.add((await client.create(nodePort(name))).spec.ports![0]!.nodePort!);
    assert.equal([...ports].sort(), [30000, 30002, 30003]);
    assert.match((await refusal(client.create(nodePort('g')))).message, 'failed to allocate a nodePort: range is full');
    await client.delete('Service', 'a');
    assert.is((await client.create(nodePort('h', 30001))).spec.ports![0]!.nodePort, 30001);
  }, range),
);

test(
  'TCP and UDP of one port share a NodePort',
  withCluster(async ({ client }) => {
    const ports = [
      { name: 't', port: 53, protocol: 'TCP' as const },
      { name: 'u', port: 53, protocol: 'UDP' as const },
    ];
    const made = await client.create(service('dns', { type: 'NodePort', ports }));
    assert.is(made.spec.ports![0]!.nodePort, made.spec.ports![1]!.nodePort);
  }),
);

test(
  'a failed write or a dry run allocates nothing',
  withCluster(async ({ client }) => {
    const dry = await client.create(nodePort('dry', 30002), { dryRun: true });
    assert.ok(dry.spec.clusterIP);
    assert.is((await refusal(client.get('Service', 'dry', 'default'))).code, 404);
    const half = service('half', {
      type: 'NodePort',
      ports: [
        { name: 'a', port: 1, nodePort: 30002 },
        { name: 'b', port: 2, nodePort: 1 },
      ],
    });
    assert.is((await refusal(client.create(half))).code, 422);
    await client.create(nodePort('real', 30002));
  }, range),
);

test(
  'a change of type releases and allocates what the types need',
  withCluster(async ({ client }) => {
    const made = await client.create(nodePort('s', 30002));
    const patch = (spec: object) => client.patch('Service', 's', { spec }, { type: 'strategic' });
    const plain = await patch({ type: 'ClusterIP' });
    assert.is(plain.spec.ports![0]!.nodePort, undefined);
    assert.is(plain.spec.externalTrafficPolicy, undefined);
    assert.is(plain.spec.clusterIP, made.spec.clusterIP);
    const alias = await patch({ type: 'ExternalName', externalName: 'example.com' });
    assert.is(alias.spec.clusterIP, undefined);
    const back = await patch({ type: 'NodePort', externalName: null });
    assert.ok(back.spec.clusterIP);
    assert.ok(back.spec.ports![0]!.nodePort);
    const balancer = await patch({ type: 'LoadBalancer', externalTrafficPolicy: 'Local' });
    assert.ok(balancer.spec.healthCheckNodePort! >= 30000);
    assert.is(balancer.spec.ports![0]!.nodePort, back.spec.ports![0]!.nodePort);
    const cluster = await patch({ externalTrafficPolicy: 'Cluster' });
    assert.is(cluster.spec.healthCheckNodePort, undefined);
  }, range),
);

test(
  'a load balancer in a cluster without a pool gets an event that names the option',
  withCluster(async ({ client }) => {
    await client.create(service('lonely', { type: 'LoadBalancer' }));
    const event = await eventually(async () => {
      const { items } = await client.list('Event', { namespace: 'default' });
      return items.find(({ involvedObject }) => involvedObject.name === 'lonely');
    });
    assert.is(event.reason, 'NoAddressPool');
    assert.match(event.message!, '`dataplane up --load-balancer-pool CIDR`');
  }),
);

test(
  'load balancers get an address of the pool and release it',
  withCluster(
    async ({ client }) => {
      const balancer = (name: string, loadBalancerIP?: string) =>
        service(name, {
          type: 'LoadBalancer',
          allocateLoadBalancerNodePorts: false,
          ...(loadBalancerIP && { loadBalancerIP }),
        });
      const ingress = (s: { status?: { loadBalancer?: { ingress?: { ip?: string }[] } } }) =>
        s.status?.loadBalancer?.ingress?.[0]?.ip;
      const a = await client.create(balancer('a'));
      assert.is(ingress(a), '192.0.2.1');
      assert.is(a.spec.ports![0]!.nodePort, undefined);
      assert.is(ingress(await client.create(balancer('b', '192.0.2.3'))), '192.0.2.3');
      assert.is(ingress(await client.create(balancer('c'))), '192.0.2.2');
      // The pool is exhausted: an event reports it, and waiting services get released addresses in order.
      assert.is(ingress(await client.create(balancer('d'))), undefined);
      assert.is(ingress(await client.create(balancer('e', '192.0.2.9'))), undefined);
      const reasons = await eventually(async () => {
        const { items } = await client.list('Event', { namespace: 'default' });
        const failed = items.filter(({ reason }) => reason === 'AllocationFailed');
        return failed.length === 2 && failed.map(({ involvedObject, message }) => `${involvedObject.name}: ${message}`);
      });
      const pool = '(cluster option loadBalancerPool)';
      assert.equal(reasons.sort(), [
        `d: no load-balancer address: no address is left in the pool ${pool}`,
        `e: no load-balancer address: 192.0.2.9 is taken, or not in the pool ${pool}`,
      ]);
      await client.delete('Service', 'a');
      const waited = () => client.get('Service', 'd', 'default');
      await eventually(async () => ingress(await waited()) === '192.0.2.1');
      const plain = await client.patch('Service', 'd', { spec: { type: 'ClusterIP' } });
      assert.is(ingress(plain), undefined);
      assert.is(ingress(await client.create(balancer('f'))), '192.0.2.1');
      const stolen = { loadBalancer: { ingress: [{ ip: '10.96.0.10' }] } };
      assert.match(
        (await refusal(client.patchStatus('Service', 'c', 'default', stolen))).message,
        'not in an allowed network',
      );
    },
    { options: { loadBalancerPool: ['192.0.2.1-192.0.2.3'] } },
  ),
);

test(
  'a pool in the underlay: addresses of nodes are not allocated',
  withCluster(
    async ({ client }) => {
      await client.create({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'n1' },
        spec: { podCIDR: '10.244.1.0/24' },
        status: { addresses: [{ type: 'InternalIP', address: '172.18.0.11' }] },
      } as never);
      const made = async (name: string, more: object = {}) =>
        (await client.create(service(name, { type: 'LoadBalancer', ...more }))).status?.loadBalancer?.ingress?.[0]?.ip;
      assert.is(await made('a'), '172.18.0.10');
      assert.is(await made('b'), '172.18.0.12');
      assert.is(await made('c', { loadBalancerIP: '172.18.0.11' }), undefined);
    },
    { options: { loadBalancerPool: ['172.18.0.10-172.18.0.15'] } },
  ),
);

test(
  'external IPs must be in the networks that the operator lists (CVE-2020-8554)',
  withCluster(
    async ({ client }) => {
      const refused = await refusal(client.create(service('evil', { externalIPs: ['8.8.8.8'] })));
      assert.match(refused.message, 'is not in a network allowed for external IPs');
      assert.equal(
        (await client.create(service('ok', { externalIPs: ['203.0.113.250'] }))).spec.externalTrafficPolicy,
        'Cluster',
      );
    },
    { options: { externalIpCidrs: ['203.0.113.0/24'] } },
  ),
);

test(
  'networks of external IPs may lie in the underlay, but no external IP is an address of a node (CVE-2020-8554)',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await client.patch(
        'Node',
        'n1',
        { status: { addresses: [{ type: 'InternalIP', address: '172.18.0.20' }] } },
        { subresource: 'status', type: 'merge' },
      );
      const refused = await refusal(client.create(service('thief', { externalIPs: ['172.18.0.20'] })));
      assert.match(refused.message, '172.18.0.20": is an address of a node');
      await client.create(service('ok', { externalIPs: ['172.18.0.21'] }));
    },
    { options: { externalIpCidrs: ['172.18.0.16/28'] } },
  ),
);

test(
  'IPv6 is refused as there is no IPv6 service network',
  withCluster(async ({ client }) => {
    assert.match(
      (await refusal(client.create(service('six', { ipFamilies: ['IPv6'] })))).message,
      'not configured on this cluster',
    );
  }),
);

test.run();
