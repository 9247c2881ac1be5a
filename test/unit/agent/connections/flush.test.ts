/** Which connections an agent removes when endpoints or addresses change. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FrontendKind } from '../../../../native-free-dataplane/services/table.ts';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import type { RemovedEndpoint } from '../../../../src/agent/connections/ended.ts';
import { flushEndpoints } from '../../../../src/agent/connections/flush.ts';
import { TestNode } from '../../../lib/test-node.ts';

const A = '10.244.1.2';
const NODE = '172.18.0.11';
const isOwn = (address: number): boolean => address === addressWords(NODE)[3];

/** `10.96.0.10:53` or `np:30053`; endpoint `10.244.2.2:5353`, or none for connections never translated. */
function removed(protocol: number, frontend: string, endpoint?: string): RemovedEndpoint {
  const split = (text: string): [string, number] => [text.split(':')[0] as string, Number(text.split(':')[1])];
  const [ip, port] = split(frontend);
  const nodePort = ip === 'np';
  const kind = nodePort ? FrontendKind.NODE_PORT : FrontendKind.CLUSTER_IP;
  const servicePort = {
    protocol,
    frontends: [{ kind, address: nodePort ? new Int32Array(4) : addressWords(ip), port }],
  };
  if (endpoint === undefined) return { servicePort, address: new Int32Array(4), port: 0 };
  const [address, number] = split(endpoint);
  return { servicePort, address: addressWords(address), port: number };
}

function node(protocol: 'tcp' | 'udp'): TestNode {
  const n = new TestNode().pod('a', A).peer(2);
  n.service(`${protocol} 10.96.0.10:53`, { endpoints: ['10.244.2.2:5353'], nodePort: 30053 });
  const tail = protocol === 'udp' ? 'len 5' : 'S';
  n.receive('a', `${protocol} ${A}:4000 > 10.96.0.10:53 ${tail}`);
  n.receive('host', `${protocol} 172.18.0.1:4001 > ${NODE}:30053 ${tail}`);
  n.receive('a', `${protocol} ${A}:4002 > 203.0.113.9:53 ${tail}`);
  n.receive('a', `${protocol} ${A}:4003 > 172.18.0.1:30053 ${tail}`);
  assert.is(n.flows, 4);
  return n;
}

for (const [name, frontend, endpoint, flushed] of [
  ['by the ClusterIP', '10.96.0.10:53', '10.244.2.2:5353', 1],
  ['by the NodePort', 'np:30053', '10.244.2.2:5353', 1],
  ['another endpoint', '10.96.0.10:53', '10.244.2.3:5353', 0],
  ['another port of the endpoint', '10.96.0.10:53', '10.244.2.2:5354', 0],
  ['another address', '10.96.0.11:53', '10.244.2.2:5353', 0],
  ['an address that became a service', '203.0.113.9:53', undefined, 1],
  ['a number that became a NodePort: other machines keep theirs (#49881)', 'np:30053', undefined, 0],
] as const) {
  test(`UDP: ${name}`, () => {
    const n = node('udp');
    assert.is(flushEndpoints(n.conntrack, [removed(17, frontend, endpoint)], isOwn), flushed);
    assert.is(n.flows, 4 - flushed);
    assert.is(flushEndpoints(n.conntrack, [removed(6, frontend, endpoint)], isOwn), 0);
  });
}

test('TCP: only connections that were not answered are removed', () => {
  const n = node('tcp');
  assert.is(flushEndpoints(n.conntrack, [removed(6, '10.96.0.10:53', '10.244.2.2:5353')], isOwn), 1);
  assert.is(flushEndpoints(n.conntrack, [removed(6, '203.0.113.9:53')], isOwn), 1);
  assert.is(n.flows, 2);

  const answered = new TestNode().pod('a', A).pod('b', '10.244.1.3');
  answered.receive('a', `tcp ${A}:4000 > 10.244.1.3:53 S seq 1`);
  answered.receive('b', `tcp 10.244.1.3:53 > ${A}:4000 SA seq 100 ack 2`);
  assert.is(flushEndpoints(answered.conntrack, [removed(6, '10.244.1.3:53')], isOwn), 0);
});

test.run();
