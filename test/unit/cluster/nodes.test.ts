/** Planning a cluster: names and addresses of nodes, and the MTU of the underlay. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ClusterOptions, DEFAULT_CLUSTER_OPTIONS } from '../../../src/api/cluster-options.ts';
import { planNodes, roomForNodes } from '../../../src/cluster/nodes.ts';
import { underlayMtuFor } from '../../../src/cluster/underlay.ts';

const test = suite('nodes and underlay');

const options = (given: Partial<ClusterOptions> = {}): ClusterOptions => ({ ...DEFAULT_CLUSTER_OPTIONS, ...given });

test("the underlay's MTU makes room for the pods' and the overlay's header", () => {
  assert.is(underlayMtuFor(options()), 1500);
  assert.is(underlayMtuFor(options({ mtu: 1400 })), 1500);
  assert.is(underlayMtuFor(options({ mtu: 8950 })), 9000);
  assert.is(underlayMtuFor(options({ mtu: 8950, overlay: 'host-gw' })), 8950);
});

test('nodes get the i-th /24 and the address 10 + i on the underlay', () => {
  assert.equal(planNodes(2, '10.244.0.0/16', '172.18.0.0/24'), [
    { name: 'n1', ip: '172.18.0.11', podCIDR: '10.244.1.0/24' },
    { name: 'n2', ip: '172.18.0.12', podCIDR: '10.244.2.0/24' },
  ]);
  assert.equal(planNodes(1, '10.9.8.0/24', '172.18.0.0/24')[0]!.podCIDR, '10.9.8.0/24');
});

test('the number of nodes is at most that of the /24s in the pod network minus one, and at most 200', () => {
  assert.is(roomForNodes('10.0.0.0/22'), 3);
  assert.is(roomForNodes('10.0.0.0/24'), 1);
  assert.is(roomForNodes('10.0.0.0/16'), 200);
});

test.run();
