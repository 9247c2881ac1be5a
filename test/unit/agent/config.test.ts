/** A node's configuration: derived as a whole from the Node, the cluster's options and the underlay. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ConfigInputs, deriveConfig, LiveConfig } from '../../../src/agent/config.ts';
import { type ClusterOptions, DEFAULT_CLUSTER_OPTIONS } from '../../../src/api/cluster-options.ts';
import type { NodeObject } from '../../../src/api/types/objects.ts';

function node(more: { labels?: Record<string, string>; leaving?: boolean; ip?: string } = {}): NodeObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: 'n1',
      labels: more.labels ?? {},
      ...(more.leaving && { deletionTimestamp: '2026-01-01T00:00:00Z' }),
    },
    spec: { podCIDR: '10.244.1.0/24' },
    status: { addresses: [{ type: 'InternalIP', address: more.ip ?? '172.18.0.11' }] },
  } as NodeObject;
}

function inputs(cluster: Partial<ClusterOptions> = {}, mtu = 1500): ConfigInputs {
  return {
    node: node(),
    cluster: { ...DEFAULT_CLUSTER_OPTIONS, ...cluster },
    underlay: { device: 'eth0', mtu, prefix: 24 },
  };
}

const unexpected = (line: string): never => assert.unreachable(line) as never;

test("the pods' MTU is the underlay's less the overlay's headers, or the cluster option where that is smaller", () => {
  const podMtu = (cluster: Partial<ClusterOptions>, mtu?: number) => deriveConfig(inputs(cluster, mtu)).podMtu;
  assert.is(podMtu({ overlay: 'vxlan' }), 1450);
  assert.is(podMtu({ overlay: 'ipip' }), 1480);
  assert.is(podMtu({ overlay: 'host-gw' }), 1500);
  assert.is(podMtu({ overlay: 'vxlan', mtu: 1400 }), 1400);
  assert.is(podMtu({ overlay: 'vxlan', mtu: 8950 }), 1450);
  assert.is(podMtu({ overlay: 'vxlan', mtu: 8950 }, 9000), 8950);
});

test('a node has at least one worker', () => {
  assert.is(deriveConfig(inputs({ workers: 0 })).workers, 1);
  assert.is(deriveConfig(inputs({ workers: 3 })).workers, 3);
});

test('only IPIP by raw socket uses a raw socket', () => {
  const rawSocket = (cluster: Partial<ClusterOptions>) => deriveConfig(inputs(cluster)).rawSocket;
  assert.is(rawSocket({ overlay: 'ipip', ipipTransport: 'raw-socket' }), true);
  assert.is(rawSocket({ overlay: 'ipip', ipipTransport: 'dp0' }), false);
  assert.is(rawSocket({ overlay: 'vxlan', ipipTransport: 'raw-socket' }), false);
});

test('a Node without an address or a pod network is refused by name', () => {
  const without = (part: object) => ({ ...inputs(), node: { ...node(), ...part } as NodeObject });
  assert.throws(() => deriveConfig(without({ status: {} })), /Node n1 has no InternalIP/);
  assert.throws(() => deriveConfig(without({ spec: {} })), /Node n1 has no podCIDR/);
});

test('the configuration is deeply frozen, the inputs are not', () => {
  const given = inputs({ externalIpCidrs: ['203.0.113.0/24'] });
  const config = deriveConfig(given);
  assert.throws(() => Object.assign(config, { podMtu: 1 }), /read only/);
  assert.throws(() => (config.nodePortRange as unknown as number[]).push(1), /not extensible/);
  assert.throws(() => (config.addressRules.externalIpCidrs as string[]).push('x'), /not extensible/);
  assert.not(Object.isFrozen(given.cluster));
  assert.not(Object.isFrozen(given.cluster.externalIpCidrs));
});

test('values the node was built with stay; the others are updated', () => {
  const before = deriveConfig(inputs());
  const cluster: Partial<ClusterOptions> = {
    overlay: 'ipip',
    ipipTransport: 'dp0',
    vxlanPort: 8472,
    vni: 2,
    podCidr: '10.0.0.0/16',
    serviceCidr: '10.1.0.0/16',
    workers: 8,
    maxConntrack: 16,
    portPolicy: 'declared',
    localPolicyAction: 'drop',
    mtu: 1400,
  };
  const changed = { ...inputs(cluster), node: node({ labels: { 'topology.kubernetes.io/zone': 'b' }, ip: '1.2.3.4' }) };
  assert.equal(deriveConfig(changed, before), {
    ...before,
    portPolicy: 'declared',
    localPolicyDrops: true,
    podMtu: 1400,
    zone: 'b',
  });
});

test('followers of a value are called when it changes, in order, and no others', () => {
  const live = new LiveConfig(inputs(), unexpected);
  const calls: string[] = [];
  live.follow(['underlayMtu'], ({ underlayMtu }) => calls.push(`dp0 ${underlayMtu}`));
  live.follow(['zone', 'addressRules'], ({ zone }) => calls.push(`services ${zone}`));
  live.follow(['podMtu', 'underlayMtu'], ({ podMtu }) => calls.push(`pods ${podMtu} ${live.current.podMtu}`));

  live.change({ underlay: { device: 'eth0', mtu: 1400, prefix: 24 } });
  assert.equal(calls.splice(0), ['dp0 1400', 'pods 1350 1350']);
  live.change({ node: node({ labels: { 'topology.kubernetes.io/zone': 'a' } }) });
  assert.equal(calls.splice(0), ['services a']);
  live.change({ cluster: { ...DEFAULT_CLUSTER_OPTIONS, externalIpCidrs: ['203.0.113.0/24'] } });
  assert.equal(calls.splice(0), ['services a']);
  live.change({ node: node({ labels: { 'topology.kubernetes.io/zone': 'a', other: 'label' } }) });
  live.change({ cluster: { ...DEFAULT_CLUSTER_OPTIONS, externalIpCidrs: ['203.0.113.0/24'] } });
  assert.equal(calls, [], 'the same again');
});

test('a node that is being deleted is leaving', () => {
  const live = new LiveConfig(inputs(), unexpected);
  assert.is(live.current.leaving, false);
  live.change({ node: node({ leaving: true }) });
  assert.is(live.current.leaving, true);
});

test('a follower that fails does not affect the others', () => {
  const lines: string[] = [];
  const live = new LiveConfig(inputs(), (line) => lines.push(line));
  const followed: number[] = [];
  live.follow(['podMtu'], () => {
    throw new Error('no such device');
  });
  live.follow(['podMtu'], ({ podMtu }) => followed.push(podMtu));
  live.change({ underlay: { device: 'eth0', mtu: 1400, prefix: 24 } });
  assert.equal(followed, [1350]);
  assert.equal(lines, ['podMtu changed: no such device']);
});

test.run();
