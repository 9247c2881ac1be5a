/** `dataplane capture --service`: a Service as an expression of tcpdump. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EndpointSlice, NodeObject, Service } from '../../../src/api/types/objects.ts';
import { serviceFilter } from '../../../src/observe/capture/service-filter.ts';

const service = (spec: object): Service => ({ metadata: { name: 'web', namespace: 'shop' }, spec }) as Service;
const slice = (addresses: readonly string[], ports: readonly object[], name = 'web'): EndpointSlice =>
  ({
    metadata: { name: `${name}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': name } },
    endpoints: [{ addresses }],
    ports,
  }) as unknown as EndpointSlice;
const NODE = { metadata: { name: 'n1' }, status: { addresses: [{ address: '172.18.0.11' }] } } as NodeObject;

test('addresses, NodePort and endpoints: each with the port that it has there', () => {
  const spec = {
    clusterIP: '10.96.4.1',
    externalIPs: ['198.51.100.1'],
    ports: [{ name: 'http', port: 80, nodePort: 31418 }],
  };
  const ports = [
    { name: 'http', port: 8080 },
    { name: 'metrics', port: 9090 },
  ];
  assert.is(
    serviceFilter(service(spec), [slice(['10.244.1.2'], ports), slice(['10.244.1.9'], ports, 'other')], [NODE]),
    '(tcp port 80 and (host 10.96.4.1 or host 198.51.100.1)) or ' +
      '(tcp port 31418 and (host 172.18.0.11)) or (tcp port 8080 and (host 10.244.1.2))',
  );
});

test('a headless Service is its endpoints, and one without any is nothing', () => {
  const headless = service({ clusterIP: 'None', ports: [{ port: 53, protocol: 'UDP' }] });
  assert.is(
    serviceFilter(headless, [slice(['10.244.1.2', 'fd00::2'], [{ port: 5353 }])], [NODE]),
    '(udp port 5353 and (host 10.244.1.2))',
  );
  assert.is(serviceFilter(headless, [], [NODE]), undefined);
});

test.run();
