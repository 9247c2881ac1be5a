/** Service kube-system/kube-dns, through which pods reach the DNS server of their own node. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addNode, eventually, service, withCluster } from '../test-cluster.ts';

const NAMESPACE = 'kube-system';
const NAME = 'kube-dns';

test(
  'kube-dns has the tenth address, and an endpoint on each node that only pods of that node use',
  withCluster(
    async ({ client }) => {
      const { spec } = await client.get('Service', NAME, NAMESPACE);
      assert.is(spec.clusterIP, '10.96.0.10');
      assert.is(spec.internalTrafficPolicy, 'Local');
      assert.equal(
        spec.ports?.map(({ port, protocol, targetPort }) => [port, protocol, targetPort]),
        [
          [53, 'UDP', 10053],
          [53, 'TCP', 10053],
        ],
      );
      await addNode(client, 'n1');
      await client.patchStatus('Node', 'n1', undefined, {
        addresses: [{ type: 'InternalIP', address: '172.18.0.11' }],
      });
      const slice = await eventually(async () => {
        const found = await client.get('EndpointSlice', NAME, NAMESPACE);
        return found.endpoints.length === 1 && found.endpoints[0]?.conditions?.ready === true && found;
      });
      assert.is(slice.endpoints[0]?.nodeName, 'n1');
      assert.equal(slice.endpoints[0]?.addresses, ['172.18.0.11']);
      await client.delete('Node', 'n1');
      await eventually(async () => (await client.get('EndpointSlice', NAME, NAMESPACE)).endpoints.length === 0);
    },
    { options: { dns: 'agent' } },
  ),
);

test(
  'kube-dns is recreated with the same address when it is deleted',
  withCluster(
    async ({ client }) => {
      await client.delete('Service', NAME, { namespace: NAMESPACE });
      await client.delete('EndpointSlice', NAME, { namespace: NAMESPACE });
      await eventually(async () => (await client.find('EndpointSlice', NAME, NAMESPACE)) !== undefined);
      assert.is((await client.get('Service', NAME, NAMESPACE)).spec.clusterIP, '10.96.0.10');
    },
    { options: { dns: 'agent' } },
  ),
);

test(
  'with --dns external there is no kube-dns: its address is free for a server that the user deploys',
  withCluster(
    async ({ client }) => {
      assert.is(await client.find('Service', NAME, NAMESPACE), undefined);
    },
    { options: { dns: 'external' } },
  ),
);

test(
  'a cluster whose tenth address belongs to another Service still starts, and kube-dns takes the address when it is free',
  withCluster(
    async (cluster) => {
      const { client } = cluster;
      const spec = { clusterIP: '10.96.0.10', ports: [{ port: 53 }] };
      await client.create(service('own', spec));
      await cluster.restart({ dns: 'agent' });
      assert.is((await client.get('Service', 'own', 'default')).spec.clusterIP, '10.96.0.10');
      assert.is(await client.find('Service', NAME, NAMESPACE), undefined);
      await client.delete('Service', 'own');
      // Any change of a Node makes the controller try again.
      await addNode(client, 'n1');
      await eventually(async () => (await client.find('Service', NAME, NAMESPACE)) !== undefined);
    },
    { options: { dns: 'external' } },
  ),
);

test.run();
