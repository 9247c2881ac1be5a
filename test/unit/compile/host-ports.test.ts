/** A pod's host ports as contents of the service table. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FrontendKind } from '../../../native-free-dataplane/services/table.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import { compileHostPorts } from '../../../src/compile/host-ports.ts';
import { hostPortPod, type PortText } from '../../lib/services/host-port-pod.ts';

const compile = (...ports: PortText[]) => compileHostPorts(hostPortPod('web', '10.244.1.2', ports), '10.244.1.2');

test('each port with a hostPort is a service port of one endpoint, the pod', () => {
  const { ports, refused } = compile(
    { containerPort: 80, hostPort: 8081 },
    { containerPort: 81 },
    { containerPort: 53, hostPort: 53, protocol: 'UDP', hostIP: '172.18.0.11' },
  );
  assert.equal(refused, []);
  const brief = ports.map(({ name, protocol, frontends, cluster, local, serving }) => ({
    name,
    protocol,
    at: frontends.map(({ kind, address, port }) => [kind, formatAddress(address), port]),
    to: [cluster, local].map((set) => set.map(({ key }) => key)),
    serving,
  }));
  const tcp = ['10.244.1.2:80'];
  const udp = ['10.244.1.2:53'];
  assert.equal(brief, [
    {
      name: 'pod/default/web:0.0.0.0:8081/TCP',
      protocol: 6,
      at: [[FrontendKind.HOST_PORT, '0.0.0.0', 8081]],
      to: [tcp, tcp],
      serving: tcp,
    },
    {
      name: 'pod/default/web:172.18.0.11:53/UDP',
      protocol: 17,
      at: [[FrontendKind.HOST_PORT, '172.18.0.11', 53]],
      to: [udp, udp],
      serving: udp,
    },
  ]);
});

test('what cannot be served is refused with its reason, the rest of the pod’s ports is served', () => {
  const { ports, refused } = compile(
    { containerPort: 80, hostPort: 8081, hostIP: 'fd00::1' },
    { containerPort: 80, hostPort: 65535 },
    { containerPort: 80, hostPort: 8082, hostIP: '' },
  );
  assert.equal(
    ports.map(({ name }) => name),
    ['pod/default/web:0.0.0.0:8082/TCP'],
  );
  assert.equal(refused, [
    'hostPort 8081: hostIP fd00::1 is no IPv4 address',
    'hostPort 65535: 65534 is the highest that a routing rule can name',
  ]);
});

test.run();
