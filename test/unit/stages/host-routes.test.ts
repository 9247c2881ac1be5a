/** The effect of host routes on packets: the node's own addresses, and the sources of masqueraded connections. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { TestNode, type TestNodeOptions } from '../../lib/test-node.ts';

const word = (ip: string): number => addressWords(ip)[3] as number;
const SECOND = '172.18.0.50';

/** A node with a second address, and a second network device with 192.168.99.1. */
function twoDevices(options: TestNodeOptions = {}): TestNode {
  const node = new TestNode(options).pod('client', '10.244.1.2').peer(2);
  node.sync.setHostRoutes([
    { network: word('192.168.99.0'), prefix: 24, source: word('192.168.99.1') },
    { network: word('172.18.0.11'), prefix: 32, source: undefined },
    { network: word(SECOND), prefix: 32, source: undefined },
    { network: word('192.168.99.1'), prefix: 32, source: undefined },
  ]);
  return node;
}

test('a connection from a pod to a second address of its node is not masqueraded', () => {
  const node = twoDevices();
  node.receive('client', `tcp 10.244.1.2:40000 > ${SECOND}:6443 S`);
  assert.equal(node.sent('host'), [`tcp 10.244.1.2:40000 > ${SECOND}:6443 S`]);
  node.receive('host', `tcp ${SECOND}:6443 > 10.244.1.2:40000 SA`);
  assert.equal(node.sent('client'), [`tcp ${SECOND}:6443 > 10.244.1.2:40000 SA`]);
});

test('connections that leave by the second device are masqueraded with its address, others with the node’s', () => {
  const node = twoDevices();
  node.receive('client', 'tcp 10.244.1.2:40000 > 192.168.99.2:80 S');
  node.receive('client', 'tcp 10.244.1.2:40000 > 198.51.100.1:80 S');
  assert.equal(node.sent('host'), [
    'tcp 192.168.99.1:40000 > 192.168.99.2:80 S',
    'tcp 172.18.0.11:40000 > 198.51.100.1:80 S',
  ]);
  node.receive('host', 'tcp 192.168.99.2:80 > 192.168.99.1:40000 SA');
  assert.equal(node.sent('client'), ['tcp 192.168.99.2:80 > 10.244.1.2:40000 SA']);
});

test('an address that the node no longer has is outside: connections to it are masqueraded', () => {
  const node = twoDevices();
  node.sync.setHostRoutes([]);
  node.receive('client', `tcp 10.244.1.2:40000 > ${SECOND}:6443 S`);
  assert.equal(node.sent('host'), [`tcp 172.18.0.11:40000 > ${SECOND}:6443 S`]);
});

for (const overlay of ['vxlan', 'host-gw'] as const) {
  test(`a socket bound to the node’s address reaches another node’s pod as the gateway, ${overlay}`, () => {
    const node = twoDevices({ overlay });
    node.receive('host', 'tcp 172.18.0.11:50000 > 10.244.2.5:80 S');
    assert.match(node.sent('host').join(), /tcp 10\.244\.1\.1:50000 > 10\.244\.2\.5:80 S/);
  });
}

test('NodePorts are open on every address of the node’s devices, and not on the pods’ gateway', () => {
  const node = twoDevices().service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.2:8080'], nodePort: 31080 });
  for (const address of [SECOND, '192.168.99.1', '172.18.0.11']) {
    node.receive('host', `tcp 203.0.113.7:5000 > ${address}:31080 S`);
    assert.match(node.sent('client').join(), /> 10\.244\.1\.2:8080 S/, address);
  }
  node.receive('client', 'tcp 10.244.1.2:41000 > 10.244.1.1:31080 S');
  assert.equal(node.sent('host'), ['tcp 10.244.1.2:41000 > 10.244.1.1:31080 S']);
});

test('more source addresses than fit: connections that leave by the other routes get the node’s address', () => {
  const node = new TestNode().pod('client', '10.244.1.2');
  const routes = Array.from({ length: 70 }, (_, i) => ({
    network: word(`192.168.${i}.0`),
    prefix: 24,
    source: word(`192.168.${i}.1`),
  }));
  assert.is(node.sync.setHostRoutes(routes), 6);
  node.receive('client', 'udp 10.244.1.2:40000 > 192.168.63.9:53');
  node.receive('client', 'udp 10.244.1.2:40000 > 192.168.64.9:53');
  assert.match(
    node.sent('host').join('\n'),
    /192\.168\.63\.1:40000 > 192\.168\.63\.9:53.*\n.*172\.18\.0\.11:40000 > 192\.168\.64\.9:53/,
  );
});

test('neither TTL nor MTU matters for a packet that is delivered to the node', () => {
  const node = twoDevices();
  node.receive('client', `udp 10.244.1.2:4000 > ${SECOND}:53`, { ttl: 1 });
  assert.equal(node.countersMoved()['ttl-exceeded'], undefined);
  assert.is(node.sent('host').length, 1);
});

test.run();
