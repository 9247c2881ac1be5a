/** Edge cases of ICMP errors: their source address, and ports that look like no ports. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { deliver, exchange, TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const CLIENT = '198.51.100.7';

test('ICMP errors work for a connection from port 65535 to port 65535', () => {
  const n = new TestNode().pod('a', A).pod('b', B);
  for (const protocol of ['udp', 'sctp']) {
    n.receive('a', `${protocol} ${A}:65535 > ${B}:65535 len 20`);
    const error = `icmp ${B} > ${A} unreachable port (${protocol} ${A}:65535 > ${B}:65535 len 20)`;
    assert.is(n.receive('b', error), 'forwarded', protocol);
  }
});

test('RFC 5508 REQ-5: a gateway’s error leaves the pod network with the address that the client used as source', () => {
  const one = new TestNode({ number: 1 }).peer(2);
  one.service('udp 10.96.0.11:53', { endpoints: ['10.244.2.2:53'], nodePort: 31053 });
  const two = new TestNode({ number: 2 }).peer(1);
  assert.is(one.receive('host', `udp ${CLIENT}:5000 > 172.18.0.11:31053 len 5`), 'encapsulated');
  for (const sent of one.sentFrames('host')) deliver(two, sent);
  for (const sent of two.sentFrames('host')) deliver(one, sent);
  assert.equal(one.sent('host'), [
    `icmp 172.18.0.11 > ${CLIENT} unreachable host (udp ${CLIENT}:5000 > 172.18.0.11:31053)`,
  ]);
});

test('toward a pod the gateway of another node keeps its address', () => {
  const one = new TestNode({ number: 1 }).pod('a', A).peer(2);
  one.service('udp 10.96.0.11:53', { endpoints: ['10.244.2.2:53'] });
  const two = new TestNode({ number: 2 }).peer(1);
  one.receive('a', `udp ${A}:5000 > 10.96.0.11:53 len 5`);
  exchange(one, two);
  assert.equal(one.sent('a'), [`icmp 10.244.2.1 > ${A} unreachable host (udp ${A}:5000 > 10.96.0.11:53)`]);
});

test.run();
