import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RemoteNodes, remoteNodeOf, whyNoPeer } from '../../../../src/agent/overlay/remote-nodes.ts';
import type { NodeObject } from '../../../../src/api/types/objects.ts';

const VXLAN = { overlay: 'vxlan', vni: 1 } as const;

function node(
  annotations: Record<string, string>,
  spec: NodeObject['spec'] = { podCIDR: '10.244.7.0/24' },
): NodeObject {
  const prefixed = Object.entries(annotations).map(([key, value]) => [`flannel.alpha.coreos.com/${key}`, value]);
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'x', annotations: Object.fromEntries(prefixed) },
    spec,
    status: { addresses: [{ type: 'InternalIP', address: '172.18.0.9' }] },
  } as NodeObject;
}

test("flannel's annotations are read", () => {
  const annotations = {
    'backend-type': 'vxlan',
    'backend-data': '{"VNI":1,"VtepMAC":"5E:11:22:33:44:55"}',
    'public-ip': '172.18.0.100',
  };
  assert.equal(remoteNodeOf(node(annotations)), {
    name: 'x',
    ip: '172.18.0.100',
    podCIDRs: ['10.244.7.0/24'],
    vtepMac: '5e:11:22:33:44:55',
  });
  assert.is(whyNoPeer(node(annotations), VXLAN), undefined);
});

test('without annotations: the internal address, and the MAC our own VTEPs have', () => {
  assert.equal(remoteNodeOf(node({})), {
    name: 'x',
    ip: '172.18.0.9',
    podCIDRs: ['10.244.7.0/24'],
    vtepMac: '0a:58:0a:f4:07:01',
  });
  for (const data of ['null', 'no JSON', '{"VtepMAC":5}', '{"VtepMAC":"5e:11"}']) {
    assert.is(remoteNodeOf(node({ 'backend-data': data }))?.vtepMac, '0a:58:0a:f4:07:01', data);
  }
});

test('a node without a pod network yet', () => assert.is(remoteNodeOf(node({}, {})), undefined));

test('a node with another backend or another VNI is not a peer', () => {
  const why = (annotations: Record<string, string>, cluster: Parameters<typeof whyNoPeer>[1] = VXLAN) =>
    whyNoPeer(node(annotations), cluster);
  assert.match(why({ 'backend-type': 'host-gw' }) ?? '', "its backend is host-gw, this cluster's is vxlan");
  assert.match(why({ 'backend-type': 'vxlan', 'backend-data': '{"VNI":4096}' }) ?? '', 'its VNI is 4096');
  assert.is(why({ 'backend-type': 'vxlan', 'backend-data': 'null' }), undefined);
  assert.is(why({}), undefined);
  assert.is(why({ 'backend-type': 'ipip', 'backend-data': 'null' }, { overlay: 'ipip', vni: 1 }), undefined);
});

test('a list of nodes sets the routes once, and a heartbeat nothing', async () => {
  const entered: string[] = [];
  const routes: string[][] = [];
  const nodes = new RemoteNodes({
    sync: { setNode: ({ name }: { name: string }) => entered.push(name), forgetPathMtus: () => {} } as never,
    host: { setNodeRoutes: (all: ReadonlyMap<string, string>) => routes.push([...all.keys()]) } as never,
    cluster: VXLAN,
    log: assert.unreachable,
  });
  const named = (name: string, podCIDR: string, heartbeat = ''): NodeObject => {
    const object = node({}, { podCIDR });
    const conditions = [{ type: 'Ready', status: 'True' as const, lastHeartbeatTime: heartbeat }];
    return {
      ...object,
      metadata: { ...object.metadata, name },
      status: { ...object.status, conditions },
    } as NodeObject;
  };
  try {
    nodes.set(named('a', '10.244.1.0/24'));
    nodes.set(named('b', '10.244.2.0/24'));
    await Promise.resolve();
    nodes.set(named('b', '10.244.2.0/24', '2026-01-01T00:00:00Z'));
    await Promise.resolve();
    assert.equal(entered, ['a', 'b']);
    assert.equal(routes, [['10.244.1.0/24', '10.244.2.0/24']]);
    nodes.set(named('b', '10.244.3.0/24'));
    await Promise.resolve();
    assert.equal(routes[1], ['10.244.1.0/24', '10.244.3.0/24']);
  } finally {
    nodes.close();
  }
});

test.run();
