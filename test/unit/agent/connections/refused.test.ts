/** Which objects get the event that connections are refused because no source port is free. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lastRefused, objectsOf } from '../../../../src/agent/connections/refused.ts';
import type { Pod, Service } from '../../../../src/api/types/objects.ts';
import { A, B, NODE, natNode, SERVER } from '../../../lib/nat-node.ts';
import { hostPortPod } from '../../../lib/services/host-port-pod.ts';

const PODS: Pod[] = [hostPortPod('a', A, []), hostPortPod('b', B, [])];
const object: unknown = {
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { clusterIP: '10.96.0.10', ports: [{ port: 80, nodePort: 31418 }] },
};
const SERVICES = [object as Service];

const names = (refused: ReturnType<typeof lastRefused>): string[] =>
  objectsOf(refused, PODS, SERVICES).map(({ kind, metadata }) => `${kind} ${metadata.name}`);

test('a pod that finds no port toward the outside: the event is about the pod', () => {
  const n = natNode({ masqueradePorts: [40000, 40000] });
  n.receive('b', `udp ${B}:5000 > ${SERVER}:9 len 8`);
  n.receive('host', `udp ${SERVER}:9 > ${NODE}:40000 len 8`);
  n.advance(3000);
  n.receive('b', `udp ${B}:5000 > ${SERVER}:9 len 8`);
  assert.is(n.receive('a', `udp ${A}:5000 > ${SERVER}:9 len 8`), 'rejected-prohibited');
  assert.equal(lastRefused(n.conntrack), { source: A, target: SERVER, protocol: 17, port: 9 });
  assert.equal(names(lastRefused(n.conntrack)), ['Pod a']);
});

test('a client outside that finds none by a NodePort: about the Service; a pod by a ClusterIP: about both', () => {
  assert.equal(names({ source: SERVER, target: NODE, protocol: 6, port: 31418 }), ['Service web']);
  assert.equal(names({ source: A, target: '10.96.0.10', protocol: 6, port: 80 }), ['Pod a', 'Service web']);
  for (const other of [
    { target: '10.96.0.10', protocol: 17, port: 80 },
    { target: '10.96.0.10', protocol: 6, port: 81 },
    { target: '10.96.0.11', protocol: 6, port: 80 },
  ]) {
    assert.equal(names({ source: SERVER, ...other }), []);
  }
});

test.run();
