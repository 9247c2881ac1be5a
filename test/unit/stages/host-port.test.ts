/**
 * Host ports of pods: the addresses on which they are open, the client's address that a pod sees, and precedence of
 * Services.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { viewHostPort } from '../../../native-free-dataplane/services/inspect.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { compileHostPorts } from '../../../src/compile/host-ports.ts';
import { hostPortPod, type PortText } from '../../lib/services/host-port-pod.ts';
import { TestNode } from '../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const NODE = '172.18.0.11';
const SECOND = '172.18.0.50';
const GATEWAY = '10.244.1.1';
const OUTSIDE = '203.0.113.9';

/** Pod b has the host ports; a is another pod of the node. SECOND is a second address of the node. */
function node(...ports: PortText[]): TestNode {
  const n = new TestNode().pod('a', A).pod('b', B).peer(2);
  n.sync.setHostRoutes([{ network: addressWords(SECOND)[3] as number, prefix: 32, source: undefined }]);
  setHostPorts(n, 'b', B, ports);
  return n;
}

function setHostPorts(n: TestNode, name: string, ip: string, ports: readonly PortText[]): void {
  for (const port of compileHostPorts(hostPortPod(name, ip, ports), ip).ports) n.writer.set(port, n.nowMs);
}

const web = { containerPort: 80, hostPort: 8081 };

for (const [who, port, from, to, client] of [
  ['from outside', 'host', `${OUTSIDE}:4000`, NODE, `${OUTSIDE}:4000`],
  ['from outside, to a second address', 'host', `${OUTSIDE}:4000`, SECOND, `${OUTSIDE}:4000`],
  ['from another node', 'host', '172.18.0.12:4000', NODE, '172.18.0.12:4000'],
  ['from the node itself', 'host', `${NODE}:4000`, NODE, `${NODE}:4000`],
  ['from a pod of the node', 'a', `${A}:4000`, NODE, `${A}:4000`],
  ['from the node itself by loopback: the source is masqueraded', 'host', '127.0.0.1:4000', '127.0.0.1', undefined],
  ['from the pod itself: the source is masqueraded', 'b', `${B}:4000`, NODE, undefined],
] as const) {
  test(`a hostPort is reached ${who}, and its reply has the address that the client connected to`, () => {
    const n = node(web);
    n.receive(port, `tcp ${from} > ${to}:8081 S seq 1`);
    const [sent = ''] = n.sent('b');
    const seen = /^tcp (\S+) > 10\.244\.1\.3:80 S$/.exec(sent)?.[1];
    assert.ok(seen, sent);
    if (client !== undefined) assert.is(seen, client);
    else assert.match(seen, new RegExp(`^${GATEWAY}:`));
    n.receive('b', `tcp ${B}:80 > ${seen} SA seq 9 ack 2`);
    assert.equal(n.sent(port), [`tcp ${to}:8081 > ${from} SA`]);
    assert.equal(n.countersMoved(), { forwarded: port === 'host' ? 1 : 2, ...(port === 'host' && { 'to-host': 1 }) });
  });
}

test('a hostPort is open for its protocol only, on the node’s addresses only, and not on the pods’ gateway', () => {
  const n = node(
    web,
    { containerPort: 53, hostPort: 8053, protocol: 'UDP' },
    { containerPort: 9, hostPort: 9, protocol: 'SCTP' },
  );
  for (const text of [
    `udp ${OUTSIDE}:4000 > ${NODE}:8081 len 5`,
    `tcp ${OUTSIDE}:4000 > ${NODE}:8053 S`,
    `tcp ${OUTSIDE}:4000 > ${NODE}:8082 S`,
    `tcp ${OUTSIDE}:4000 > ${GATEWAY}:8081 S`,
  ]) {
    n.receive('host', text);
    assert.equal(n.sent('b'), [], text);
  }
  n.receive('a', `tcp ${A}:4000 > 172.18.0.12:8081 S`);
  assert.match(n.sent('host').at(-1) ?? '', /> 172\.18\.0\.12:8081 S$/, 'the other node’s port is its own');
  n.receive('host', `udp ${OUTSIDE}:4001 > ${NODE}:8053 len 5`);
  n.receive('host', `sctp ${OUTSIDE}:4001 > ${NODE}:9 len 5`);
  assert.is(n.sent('b').length, 2);
});

test('with hostIP a hostPort is open on that address only; two pods may have the same port on two addresses', () => {
  const n = node({ ...web, hostIP: NODE });
  setHostPorts(n, 'a', A, [{ ...web, hostIP: SECOND }]);
  n.receive('host', `tcp ${OUTSIDE}:4000 > ${NODE}:8081 S`);
  assert.equal([n.sent('a').length, n.sent('b').length], [0, 1]);
  n.receive('host', `tcp ${OUTSIDE}:4000 > ${SECOND}:8081 S`);
  assert.equal([n.sent('a').length, n.sent('b').length], [1, 0]);
  n.receive('host', 'tcp 127.0.0.1:4000 > 127.0.0.1:8081 S');
  assert.equal([n.sent('a').length, n.sent('b').length], [0, 0], 'loopback is another address');
});

test('hostIP 127.0.0.1: open to the node itself only (CVE-2020-8558)', () => {
  const n = node({ ...web, hostIP: '127.0.0.1' });
  n.receive('host', 'tcp 127.0.0.1:4000 > 127.0.0.1:8081 S');
  assert.is(n.sent('b').length, 1);
  assert.is(n.receive('host', `tcp ${OUTSIDE}:4000 > 127.0.0.1:8081 S`), 'loopback-from-network');
  assert.is(n.receive('a', `tcp ${A}:4000 > 127.0.0.1:8081 S`), 'loopback-from-network');
  n.receive('host', `tcp ${OUTSIDE}:4000 > ${NODE}:8081 S`);
  assert.is(n.sent('b').length, 0);
});

test('CVE-2019-9946: a Service takes precedence at every address and port, whether created before or after the hostPort', () => {
  const n = node({ containerPort: 81, hostPort: 80 }, { containerPort: 82, hostPort: 30080 }, { ...web, hostIP: NODE });
  const endpoints = [`${A}:8080`];
  n.service('tcp 10.96.0.10:80', { endpoints, nodePort: 30080, externalIP: SECOND, externalLocal: true });
  n.service('tcp 10.96.0.11:8081', { endpoints, externalIP: NODE, externalLocal: true });
  const asked = ['10.96.0.10:80', `${NODE}:30080`, `${SECOND}:80`, `${NODE}:8081`];
  const reached = (pod: string, port: string, i: number): void => {
    n.receive('host', `tcp ${OUTSIDE}:${5000 + i} > ${port} S`);
    assert.is(n.sent(pod).length, 1, `${port} to ${pod}`);
  };
  asked.forEach((port, i) => {
    reached('a', port, i);
  });
  // The Services are removed: the ports belong to the pod.
  n.writer.remove('tcp 10.96.0.10:80', n.nowMs);
  n.writer.remove('tcp 10.96.0.11:8081', n.nowMs);
  asked.slice(1).forEach((port, i) => {
    reached('b', port, 10 + i);
  });
  assert.is(n.receive('a', `tcp ${A}:4000 > 10.96.0.10:80 S`), 'no-such-service');
});

test('connections that the node has on a port continue when it becomes a hostPort or a Service’s; new ones are the pod’s', () => {
  const n = node(web).service('tcp 10.96.0.10:8082', { endpoints: [`${B}:80`], externalIP: SECOND });
  for (const port of [8081, 8082]) n.conntrack.socketPorts[port >>> 5]! |= 1 << (port & 31);
  for (const place of [`${NODE}:8081`, `${SECOND}:8081`, `${SECOND}:8082`]) {
    for (const client of [`${OUTSIDE}:4000`, `${NODE}:4000`]) {
      for (const flags of ['A seq 5 ack 9', 'PA seq 5 ack 9 len 10', 'FA seq 5 ack 9', 'R seq 5']) {
        assert.is(n.receive('host', `tcp ${client} > ${place} ${flags}`), 'to-host', `${client} to ${place} ${flags}`);
      }
    }
    // The answer to a connection that the node opens from this port.
    assert.is(n.receive('host', `tcp ${OUTSIDE}:80 > ${place} SA seq 1 ack 2`), 'to-host');
  }
  assert.is(n.flows, 0);
  assert.equal(n.sent('b'), []);
  n.receive('host', `tcp ${OUTSIDE}:4001 > ${NODE}:8081 S`);
  n.receive('host', `tcp ${OUTSIDE}:4001 > ${SECOND}:8082 S`);
  assert.is(n.sent('b').length, 2);
  // A connection of the pod whose record is lost, on a port that the node itself does not use.
  n.conntrack.socketPorts.fill(0);
  n.receive('host', `tcp ${OUTSIDE}:4002 > ${NODE}:8081 PA seq 5 ack 9 len 10`);
  assert.is(n.sent('b').length, 1);
});

test('with a hostPort, the node’s other ports and its ping are still left to the node’s kernel', () => {
  const n = node(web);
  assert.is(n.receive('a', `tcp ${A}:4000 > ${NODE}:22 S`), 'to-host');
  assert.is(n.receive('a', `icmp ${A} > ${NODE} echo-request id 7`), 'to-host');
  assert.is(n.receive('host', `tcp ${OUTSIDE}:4000 > ${NODE}:30123 S`), 'to-host');
});

test('a hostPort that is removed is the node’s port again; of two pods with one port, the second gets it after the first', () => {
  const n = node(web);
  setHostPorts(n, 'a', A, [web]);
  const port = (pod: string): string => `pod/default/${pod}:0.0.0.0:8081/TCP`;
  n.receive('host', `tcp ${OUTSIDE}:4000 > ${NODE}:8081 S`);
  assert.is(n.sent('b').length, 1);
  n.writer.remove(port('b'), n.nowMs);
  n.receive('host', `tcp ${OUTSIDE}:4001 > ${NODE}:8081 S`);
  assert.is(n.sent('a').length, 1);
  n.writer.remove(port('a'), n.nowMs);
  assert.is(n.receive('host', `tcp ${OUTSIDE}:4002 > ${NODE}:8081 S`), 'to-host');
  assert.is(viewHostPort(n.services, 6, 8081, addressWords(NODE)), undefined);
});

test('the node’s connections to the pod and to its hostPort from one source port are two connections', () => {
  const n = node(web);
  n.receive('host', `tcp ${GATEWAY}:4000 > ${B}:80 S seq 1`);
  n.receive('host', 'tcp 127.0.0.1:4000 > 127.0.0.1:8081 S seq 1');
  const sources = n.sent('b').map((text) => /^tcp (\S+) >/.exec(text)?.[1]);
  assert.is(new Set(sources).size, 2, sources.join());
});

test.run();
