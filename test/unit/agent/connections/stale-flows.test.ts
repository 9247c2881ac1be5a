/** What an agent does with the UDP flows its predecessor left (S16, S17 of docs/semantics.md). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FrontendKind } from '../../../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import type { ServicePortState } from '../../../../src/agent/connections/ended.ts';
import { sweepStaleFlows } from '../../../../src/agent/connections/stale-flows.ts';
import { TestNode } from '../../../lib/test-node.ts';

const A = '10.244.1.2';
const NODE = '172.18.0.11';
const isOwn = (address: number): boolean => address === addressWords(NODE)[3];

function state(protocol: number, vips: string[], serving: string[]): ServicePortState {
  const frontends = vips.map((text) => {
    const [ip = '', port = ''] = text.split(':');
    if (ip === 'np') return { kind: FrontendKind.NODE_PORT, address: new Int32Array(4), port: Number(port) };
    return { kind: FrontendKind.CLUSTER_IP, address: addressWords(ip), port: Number(port) };
  });
  return { name: 'default/dns:dns/UDP', protocol, frontends, serving };
}

/** One flow through the ClusterIP, one through the NodePort, to the only endpoint, and one of a pod to a pod. */
function node(protocol: 'udp' | 'tcp'): TestNode {
  const n = new TestNode().pod('a', A).pod('b', '10.244.1.3').peer(2);
  n.service(`${protocol} 10.96.0.10:53`, { endpoints: ['10.244.2.2:5353'], nodePort: 30053 });
  const tail = protocol === 'udp' ? 'len 5' : 'S';
  n.receive('a', `${protocol} ${A}:4000 > 10.96.0.10:53 ${tail}`);
  n.receive('host', `${protocol} 172.18.0.1:4001 > ${NODE}:30053 ${tail}`);
  n.receive('a', `${protocol} ${A}:4002 > 10.244.2.9:53 ${tail}`);
  assert.is(n.flows, 3);
  return n;
}

const VIPS = ['10.96.0.10:53', 'np:30053'];

for (const [name, states, swept] of [
  ['nothing changed: all stay', [state(17, VIPS, ['10.244.2.2:5353'])], 0],
  ['the endpoint went', [state(17, VIPS, ['10.244.2.3:5353'])], 2],
  ['scaled to zero', [state(17, VIPS, [])], 2],
  ['the target port changed', [state(17, VIPS, ['10.244.2.2:5354'])], 2],
  ['the service went', [], 2],
  ['its NodePort went', [state(17, VIPS.slice(0, 1), ['10.244.2.2:5353'])], 1],
  ['the port is TCP now', [state(6, VIPS, ['10.244.2.2:5353'])], 2],
] as const) {
  test(`UDP: ${name}`, () => {
    const n = node('udp');
    assert.is(sweepStaleFlows(n.conntrack, states, isOwn), swept);
    assert.is(n.flows, 3 - swept);
    assert.is(sweepStaleFlows(n.conntrack, states, isOwn), 0);
  });
}

test('#49881: a NodePort number on another address is not a NodePort', () => {
  const n = new TestNode().pod('a', A).peer(2);
  n.receive('a', `udp ${A}:4000 > 172.18.0.1:30053 len 5`);
  n.receive('a', `udp ${A}:4000 > ${NODE}:30053 len 5`);
  assert.is(n.flows, 2);
  assert.is(sweepStaleFlows(n.conntrack, [state(17, VIPS, ['10.244.2.2:5353'])], isOwn), 1, 'the untranslated one');
});

test('TCP connections are left to end by themselves', () => {
  const n = node('tcp');
  assert.is(sweepStaleFlows(n.conntrack, [], isOwn), 0);
  assert.is(n.flows, 3);
});

test.run();
