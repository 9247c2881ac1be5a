/** Host ports in the table, the ports that are routed for them, and the connections that end with them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { viewHostPort } from '../../../../native-free-dataplane/services/inspect.ts';
import { addressWords } from '../../../../native-free-dataplane/wire/address.ts';
import { flushEndpoints } from '../../../../src/agent/connections/flush.ts';
import { HostPortSync } from '../../../../src/agent/services/host-port-sync.ts';
import type { RoutedPort } from '../../../../src/agent/underlay/host-options.ts';
import type { Pod } from '../../../../src/api/types/objects.ts';
import { hostPortPod, type PortText } from '../../../lib/services/host-port-pod.ts';
import { TestNode } from '../../../lib/test-node.ts';

const A = '10.244.1.2';
const B = '10.244.1.3';
const NODE = '172.18.0.11';
const SECOND = '172.18.0.50';
const own = new Set([NODE, SECOND, '127.0.0.1'].map((ip) => addressWords(ip)[3]));
const dns: PortText = { containerPort: 5353, hostPort: 53, protocol: 'UDP' };

function setUp() {
  const n = new TestNode().pod('a', A).pod('b', B);
  n.sync.setHostRoutes([{ network: addressWords(SECOND)[3] as number, prefix: 32, source: undefined }]);
  const routed: (readonly RoutedPort[])[] = [];
  const errors: string[] = [];
  let ended = 0;
  const sync = new HostPortSync({
    writer: n.writer,
    now: () => n.nowMs,
    onPorts: (ports) => routed.push(ports),
    onRemoved: (removed) => {
      ended += flushEndpoints(n.conntrack, removed, (address) => own.has(address));
    },
    onError: (pod, error) => errors.push(`${pod.metadata.name}: ${error.message}`),
  });
  return { n, sync, routed, errors, ended: () => ended };
}

const changed = (pod: Pod, spec: object, status: object = {}): Pod =>
  ({ ...pod, spec: { ...pod.spec, ...spec }, status: { ...pod.status, ...status } }) as Pod;

test('a pod’s host ports are in the table, and routed, while the pod runs; other changes of pods have no effect', () => {
  const { sync, routed, n } = setUp();
  const pod = hostPortPod('a', A, [dns, { containerPort: 80, hostPort: 80, hostIP: NODE }]);
  sync.setPods([pod, hostPortPod('b', B, [{ containerPort: 80 }])]);
  assert.equal(routed, [
    [
      { protocol: 17, port: 53 },
      { protocol: 6, port: 80, address: NODE },
    ],
  ]);
  sync.setPods([changed(pod, {}, { conditions: [] })]);
  assert.is(routed.length, 1);
  sync.setPods([changed(pod, {}, { phase: 'Succeeded' })]);
  assert.equal(routed[1], [], 'its containers have ended for good');
  assert.is(viewHostPort(n.services, 17, 53, addressWords(NODE)), undefined);
});

test('pods with hostNetwork, and pods without an address yet, have no host ports', () => {
  const { sync, routed } = setUp();
  const pod = hostPortPod('a', A, [dns]);
  sync.setPods([changed(pod, { hostNetwork: true }), { ...pod, metadata: { ...pod.metadata, annotations: {} } }]);
  assert.equal(routed, []);
});

test('UDP connections to the hostPort end with the pod, at every address of the node, and reach its successor', () => {
  const { n, sync, ended } = setUp();
  sync.setPods([hostPortPod('a', A, [dns])]);
  for (const to of [NODE, SECOND]) n.receive('host', `udp 172.18.0.1:4000 > ${to}:53 len 5`);
  n.receive('b', `udp ${B}:4000 > ${A}:5353 len 5`);
  assert.is(n.sent('a').length, 3);
  sync.setPods([hostPortPod('b', B, [dns])]);
  assert.is(ended(), 2, 'the one to the pod’s own address stays');
  for (const to of [NODE, SECOND]) n.receive('host', `udp 172.18.0.1:4000 > ${to}:53 len 5`);
  assert.equal([n.sent('a').length, n.sent('b').length], [0, 2]);
});

test('UDP of a pod to a port of the node ends when the port becomes a hostPort', () => {
  const { n, sync, ended } = setUp();
  n.receive('b', `udp ${B}:4000 > ${SECOND}:53 len 5`);
  assert.is(n.sent('host').length, 1);
  sync.setPods([hostPortPod('a', A, [dns])]);
  assert.is(ended(), 1);
  n.receive('b', `udp ${B}:4000 > ${SECOND}:53 len 5`);
  assert.is(n.sent('a').length, 1);
});

test('host ports that cannot be applied are reported once, and again when the reason changes', () => {
  const { sync, errors } = setUp();
  const pod = hostPortPod('a', A, [{ ...dns, hostIP: 'fd00::1' }, dns]);
  sync.setPods([pod]);
  sync.setPods([pod]);
  assert.equal(errors, ['a: not served: hostPort 53: hostIP fd00::1 is no IPv4 address']);
  sync.setPods([]);
  sync.setPods([pod]);
  assert.is(errors.length, 2);
});

test('a node has at most 256 host ports', () => {
  const { sync, routed, errors } = setUp();
  const ports = Array.from({ length: 257 }, (_, i) => ({ containerPort: 80, hostPort: 1000 + i }));
  sync.setPods([hostPortPod('a', A, ports)]);
  assert.is(routed[0]?.length, 256);
  assert.equal(errors, [
    'a: not served: pod/default/a:0.0.0.0:1256/TCP: the node already has 256 host ports, which is the limit',
  ]);
});

test.run();
