/** Connections with the names of their ends. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { FlowText } from '../../../../native-free-dataplane/print/flow.ts';
import { PROTOCOL_TCP } from '../../../../native-free-dataplane/protocols.ts';
import type { Pod, Service } from '../../../../src/api/types/objects.ts';
import { namedEnds, printNamedFlow } from '../../../../src/observe/trace/flow-names.ts';
import { Names } from '../../../../src/observe/trace/names.ts';

const test = suite('names of connections');

const pod = (name: string, podIP: string) =>
  ({ metadata: { name, namespace: 'default' }, spec: { containers: [] }, status: { podIP } }) as unknown as Pod;
const WEB = {
  metadata: { name: 'web', namespace: 'shop' },
  spec: { clusterIP: '10.96.1.0', ports: [{ name: 'http', port: 80 }] },
} as unknown as Service;
const names = new Names({
  pods: [pod('client', '10.244.1.2'), pod('web-1', '10.244.1.3')],
  services: [WEB],
  nodes: [],
});

const flow = (dst: string, dstPort: number, server: string, status: string[]): FlowText => ({
  protocol: PROTOCOL_TCP,
  state: 'ESTABLISHED',
  timeoutSeconds: 5,
  original: { src: '10.244.1.2', srcPort: 4000, dst, dstPort },
  reply: { src: server, srcPort: 8080, dst: '10.244.1.2', dstPort: 4000 },
  packets: [1, 1],
  bytes: [40, 40],
  status,
});

test('the client, the Service that was asked for, and the pod that answers', () => {
  const through = flow('10.96.1.0', 80, '10.244.1.3', ['SEEN_REPLY', 'DST_NAT']);
  assert.is(namedEnds(through, names), 'pod default/client > shop/web:http > pod default/web-1');
  assert.match(
    printNamedFlow(through, names),
    /^tcp +6 5 ESTABLISHED src=.* \(pod default\/client > shop\/web:http > pod default\/web-1\)$/,
  );
});

test('without a Service, and with addresses that nobody has', () => {
  assert.is(namedEnds(flow('10.244.1.3', 8080, '10.244.1.3', []), names), 'pod default/client > pod default/web-1');
  const outside = flow('192.0.2.7', 443, '192.0.2.7', []);
  assert.is(namedEnds(outside, names), 'pod default/client > 192.0.2.7');
});

test.run();
