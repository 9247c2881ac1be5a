import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject, Manifest } from '../../../../src/api/types/objects.ts';
import { addNode, eventually, heartbeat, sleep, type TestCluster, withCluster } from '../test-cluster.ts';

type Client = TestCluster['client'];
const SILENCE_MS = 300;

const ready = async (client: Client, name: string) =>
  (await client.get('Node', name)).status?.conditions?.find(({ type }) => type === 'Ready')?.status;

const lease = (name: string, renewTime: string) =>
  ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace: 'kube-node-lease' },
    spec: { holderIdentity: name, leaseDurationSeconds: 1, renewTime },
  }) as Manifest<KubeObject>;

const microTime = () => new Date().toISOString().replace('Z', '000Z');

test(
  'a node that only renews its Lease stays Ready, until the Lease has run out',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await sleep(SILENCE_MS * 0.7);
      await client.create(lease('n1', microTime()));
      await sleep(SILENCE_MS * 2);
      assert.is(await ready(client, 'n1'), 'True');
      await eventually(async () => (await ready(client, 'n1')) === 'Unknown', 3000);
    },
    { nodeSilenceMs: SILENCE_MS },
  ),
);

test(
  'a node that reports its status as well is not Ready soon after both have stopped, however long its Lease is valid',
  withCluster(
    async ({ client }) => {
      await addNode(client, 'n1');
      await client.create(lease('n1', microTime()));
      for (let i = 0; i < 3; i++) {
        await sleep(SILENCE_MS / 4);
        await heartbeat(client, 'n1', microTime());
      }
      const renewed = { spec: { renewTime: microTime(), leaseDurationSeconds: 40 } };
      await client.patch('Lease', 'n1', renewed, { namespace: 'kube-node-lease' });
      await eventually(async () => (await ready(client, 'n1')) === 'Unknown', 3000);
    },
    { nodeSilenceMs: SILENCE_MS },
  ),
);

test.run();
