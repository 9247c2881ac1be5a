/** A trace predicts what the production pipeline does, and leaves the tables unchanged. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { OverlayName } from '../../../../native-free-dataplane/overlay/modes.ts';
import { traceDiagram, traceLines } from '../../../../src/observe/trace/print.ts';
import type { NodeTrace, Step } from '../../../../src/observe/trace/step.ts';
import type { Walk } from '../../../../src/observe/trace/walk.ts';
import { ROOT } from '../../../lib/cluster.ts';
import { frame } from '../../../lib/frames/frame-text.ts';
import { policyPod, setPolicies } from '../../../lib/policies/policy-node.ts';
import { TestNode, type TestNodeOptions } from '../../../lib/test-node.ts';
import { podObject, serviceObject, type TraceArgs, traceArgs, traceFromOutside } from '../../../lib/traced-walk.ts';

const test = suite('trace');

const OBJECTS = {
  pods: [podObject('client', '10.244.1.2'), podObject('web', '10.244.1.3', { app: 'web' })],
  services: [serviceObject('web', '10.96.0.10', 80, 'web'), serviceObject('none', '10.96.0.12', 80, 'nobody')],
};

/** Two nodes that know each other; the client and `web` on the first, `far` on the second. */
function twoNodes(options: TestNodeOptions = {}): [TestNode, TestNode] {
  const a = new TestNode({ number: 1, ...options }).pod('client', '10.244.1.2').pod('web', '10.244.1.3').peer(2);
  const b = new TestNode({ number: 2, ...options }).pod('far', '10.244.2.2').peer(1);
  for (const node of [a, b]) {
    node.service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.3:8080'], nodePort: 30080 });
    node.service('tcp 10.96.0.11:80', { endpoints: ['10.244.2.2:8080'], nodePort: 30081 });
    node.service('tcp 10.96.0.12:80', { endpoints: [] });
    node.service('tcp 10.96.0.13:80', { endpoints: ['10.244.1.2:80'] });
    node.service('tcp 10.96.0.14:80', { endpoints: ['10.244.2.2:80'], externalLocal: true, nodePort: 30082 });
  }
  return [a, b];
}

const digest = (nodes: readonly TestNode[]): string => {
  const hash = createHash('sha256');
  for (const { buffers } of nodes) {
    for (const table of Object.values(buffers) as ArrayBuffer[]) hash.update(new Uint8Array(table));
  }
  return hash.digest('hex');
};

/** Traces a packet, and checks that the tables are unchanged. */
function trace(nodes: readonly TestNode[], args: TraceArgs): Walk {
  const before = digest(nodes);
  const walk = traceArgs(nodes, args, OBJECTS);
  assert.is(digest(nodes), before, 'a table was changed');
  return walk;
}

const way = ({ traces }: Walk): string[] =>
  traces.map(({ node, direction, verdict }) => `${direction} ${node} ${verdict}`);

const stepOf = ({ steps }: NodeTrace, stage: string): Step => {
  const found = steps.find((step) => step.stage === stage);
  assert.ok(found, `${stage} is not among ${steps.map((step) => step.stage).join(', ')}`);
  return found;
};

test('ClusterIP on the same node: both directions, with names, the choice of the endpoint and the changed fields', () => {
  const nodes = twoNodes();
  const walk = trace(nodes, { from: 'pod/client', to: 'svc/web:80' });
  assert.equal(way(walk), ['original n1 forwarded', 'reply n1 forwarded']);
  const [there, back] = walk.traces as [NodeTrace, NodeTrace];
  const { row, table } = stepOf(there, 'service');
  assert.is(table, 'services');
  assert.equal(row?.text, [
    'Service default/web, 10.96.0.10:80/TCP',
    'endpoint 10.244.1.3:8080 (pod default/web), the only endpoint',
  ]);
  const { before, after } = stepOf(there, 'translate');
  assert.is(before?.dst, '10.96.0.10:80');
  assert.is(after?.dst, '10.244.1.3:8080');
  assert.equal(
    [stepOf(back, 'translate').before?.src, stepOf(back, 'translate').after?.src],
    ['10.244.1.3:8080', '10.96.0.10:80'],
  );
  assert.is(walk.to?.name, 'pod default/web');
  assert.is(walk.answered?.name, 'pod default/client');
  assert.is(nodes[0].receive('client', 'tcp 10.244.1.2:40000 > 10.96.0.10:80 S'), there.verdict);
});

for (const overlay of ['vxlan', 'ipip', 'host-gw'] satisfies OverlayName[]) {
  test(`a pod of another node, by ${overlay}`, () => {
    const nodes = twoNodes({ overlay });
    const walk = trace(nodes, { from: 'pod/client', to: '10.96.0.11:80' });
    const sent = overlay === 'host-gw' ? 'routed-to-node' : 'encapsulated';
    assert.equal(way(walk), [`original n1 ${sent}`, 'original n2 forwarded', `reply n2 ${sent}`, 'reply n1 forwarded']);
    assert.is(walk.to?.name, '10.244.2.2');
    const [, far] = walk.traces as [NodeTrace, NodeTrace];
    if (overlay === 'host-gw') return;
    const { before, after } = stepOf(far, 'decapsulate');
    assert.match(before?.['outer src'] ?? '', /^172\.18\.0\.11/);
    assert.is(after?.['outer src'], undefined);
  });
}

test('a NodePort from outside through a node without the endpoint is masqueraded, and the reply leaves the same way', () => {
  const walk = trace(twoNodes(), { from: 'outside', to: '172.18.0.11:30081' });
  assert.equal(way(walk), [
    'original n1 encapsulated',
    'original n2 forwarded',
    'reply n2 encapsulated',
    'reply n1 to-host',
  ]);
  const { row } = stepOf(walk.traces[0]!, 'service');
  assert.is(row?.masquerade, true);
  assert.is(walk.answered?.name, 'outside (172.18.0.1)');
});

test('a connection to a Service without endpoints is rejected, and the explanation has its selector', () => {
  const nodes = twoNodes();
  const walk = trace(nodes, { from: 'pod/client', to: 'svc/none' });
  assert.equal(way(walk), ['original n1 rejected-tcp-reset']);
  assert.equal(walk.traces[0]?.wouldDiffer, [
    'Service default/none has no ready endpoint: its selector app=nobody matches 0 pods',
  ]);
  assert.is(walk.to, undefined);
  assert.is(walk.answered?.name, 'pod default/client');
  assert.is(nodes[0].receive('client', 'tcp 10.244.1.2:40000 > 10.96.0.12:80 S'), 'rejected-tcp-reset');
});

test('a pod that reaches itself through its Service is masqueraded', () => {
  const walk = trace(twoNodes(), { from: 'pod/client', to: '10.96.0.13:80' });
  assert.equal(way(walk), ['original n1 forwarded', 'reply n1 forwarded']);
  assert.is(stepOf(walk.traces[0]!, 'translate').after?.src, '10.244.1.1:40000');
});

test('a spoofed source address is dropped, and the explanation has the pod’s address', () => {
  const walk = trace(twoNodes(), { from: 'pod/client', to: 'svc/web', src: '10.244.1.99' });
  assert.equal(way(walk), ['original n1 spoofed-source-ip']);
  assert.match(walk.traces[0]?.wouldDiffer[0] ?? '', "pod default/client's own: 10.244.1.2, 0a:58:0a:f4:01:02");
  assert.match(stepOf(walk.traces[0]!, 'guard').source, /^native-free-dataplane\/stages\/guard\.ts:\d+$/);
});

test('a packet of an established connection reads its record, and no Service', () => {
  const nodes = twoNodes();
  const [node] = nodes;
  node.receive('client', 'tcp 10.244.1.2:40000 > 10.96.0.10:80 S seq 1');
  node.receive('web', 'tcp 10.244.1.3:8080 > 10.244.1.2:40000 SA seq 1999 ack 2');
  node.receive('client', 'tcp 10.244.1.2:40000 > 10.96.0.10:80 A seq 2 ack 2000');
  const walk = trace(nodes, { from: 'pod/client', to: '10.96.0.10:80', flags: 'A' });
  const [first] = walk.traces as [NodeTrace];
  assert.match(stepOf(first, 'flow').row?.text[0] ?? '', /^record \d+: ESTABLISHED tcp, original direction/);
  assert.not(first.steps.some(({ stage }) => stage === 'service'));
});

test('port policy declared: the explanation has the declared ports', () => {
  const node = new TestNode({ portPolicy: 'declared' })
    .pod('client', '10.244.1.2')
    .pod('web', '10.244.1.3', [{ protocol: 'TCP', port: 80 }]);
  const walk = trace([node], { from: 'pod/client', to: '10.244.1.3:81' });
  assert.match(walk.traces[0]?.verdict ?? '', 'port-not-declared');
  assert.is(walk.traces[0]?.wouldDiffer[0], 'pod default/web declares 80/TCP, not 81/TCP');
});

test('a NetworkPolicy: the rule that allows; for a connection that a change has closed, the policy that has no rule for it', () => {
  const nodes = twoNodes();
  const pods = [policyPod('10.244.1.2', { app: 'client' }), policyPod('10.244.1.3', { app: 'web' })];
  const allow = (app: string): void => {
    const from = [{ podSelector: { matchLabels: { app } } }];
    for (const node of nodes) {
      setPolicies(node, pods, [{ podSelector: { matchLabels: { app: 'web' } }, ingress: [{ from }] }]);
    }
  };
  const syn = 'tcp 10.244.1.2:40000 > 10.96.0.10:80 S';
  allow('client');
  const allowed = trace(nodes, { from: 'pod/client', to: 'svc/web:80' });
  assert.equal(way(allowed), ['original n1 forwarded', 'reply n1 forwarded']);
  assert.equal(stepOf(allowed.traces[0]!, 'network policy').row?.text, [
    'egress: no policy decides',
    'ingress: allowed by default/p0 rule 1',
  ]);
  nodes[0].receive('client', syn);
  allow('admin');
  const closed = { from: 'pod/client', to: 'svc/web:80' };
  const [first] = trace(nodes, closed).traces as [NodeTrace];
  assert.is(first.verdict, 'policy-ingress');
  assert.is(stepOf(first, 'network policy').row?.text[1], 'ingress: denied by default/p0 (no rule allows it)');
  nodes[0].receive('client', syn);
  const [later] = trace(nodes, closed).traces as [NodeTrace];
  assert.is(later.verdict, 'policy-ingress');
  assert.match(stepOf(later, 'route').row?.text[0] ?? '', 'the flow is closed: policies deny its ingress');
  for (const { wouldDiffer } of [first, later]) {
    assert.match(
      wouldDiffer[0] ?? '',
      /^a rule of default\/p0 would have to allow ingress from pod default\/client to pod default\/web: see `dataplane policy explain 10\.244\.1\.2 10\.244\.1\.3:8080`$/,
    );
  }
});

test('policy Local without an endpoint here: the explanation has the nodes with one', () => {
  const walk = trace(twoNodes(), { from: 'outside', to: '172.18.0.11:30082' });
  assert.match(
    walk.traces[0]?.wouldDiffer[0] ?? '',
    'traffic policy Local and no endpoint on this node: there are endpoints on n2',
  );
});

test('TTL and size: the explanation has the limit', () => {
  const nodes = twoNodes();
  const old = trace(nodes, { from: 'pod/client', to: '10.244.2.2:80', ttl: 1 });
  assert.equal(way(old), ['original n1 ttl-exceeded']);
  assert.match(old.traces[0]?.wouldDiffer[0] ?? '', 'at least 2');
  const large = trace(nodes, { from: 'pod/client', to: '10.244.2.2:80', protocol: 'udp', length: 1460 });
  assert.equal(way(large), ['original n1 fragmentation-needed']);
  assert.match(large.traces[0]?.wouldDiffer[0] ?? '', 'at most 1450 bytes');
});

test('an address without a pod has no route; an echo request to the gateway and a datagram get replies', () => {
  const nodes = twoNodes();
  assert.equal(way(trace(nodes, { from: 'pod/client', to: '10.244.1.77:80' })), ['original n1 no-route-answered']);
  const ping = trace(nodes, { from: 'pod/client', to: '10.244.1.1', protocol: 'icmp' });
  assert.equal(way(ping), ['original n1 ping-answered']);
  assert.match(stepOf(ping.traces[0]!, 'answer').row?.text[0] ?? '', 'echo-reply');
  const datagram = trace(nodes, { from: 'pod/client', to: '10.244.2.2:53', protocol: 'udp', length: 20 });
  assert.is(datagram.answered?.name, 'pod default/client');
});

test("only the overlay in use hands tunnel packets to dp0; the node's kernel gets those of other tunnels", () => {
  const inner = '(tcp 10.244.2.2:4000 > 10.244.1.3:80 S)';
  const packets = {
    vxlan: frame(`vxlan 172.18.0.12:49200 > 172.18.0.11:4789 vni 1 ${inner}`),
    ipip: frame(`ipip 172.18.0.12 > 172.18.0.11 ${inner}`),
    gre: frame('gre 172.18.0.12 > 172.18.0.11 len 24'),
    // Too short for its ports.
    truncated: frame('udp 172.18.0.12:1 > 172.18.0.11:4789 len 0').subarray(0, 35),
  };
  const reached = (overlay: OverlayName) =>
    Object.entries(packets).flatMap(([name, bytes]) => {
      const { traces, to } = traceFromOutside(twoNodes({ overlay }), bytes);
      if (traces.length === 0) assert.is(to?.name, 'node n1', name);
      return traces.length > 0 ? [name] : [];
    });
  assert.equal(reached('vxlan'), ['vxlan']);
  assert.equal(reached('ipip'), ['ipip']);
  assert.equal(reached('host-gw'), []);
});

test('every source line of a trace is one that decides', () => {
  const nodes = twoNodes();
  const walks = ['svc/web', 'svc/none', '10.96.0.11:80', '10.244.1.77:80'].map((to) =>
    trace(nodes, { from: 'pod/client', to }),
  );
  for (const { source } of walks.flatMap(({ traces }) => traces.flatMap(({ steps }) => steps))) {
    const [file = '', line = ''] = source.split(':');
    const text = readFileSync(join(ROOT, file), 'utf8').split('\n')[Number(line) - 1] ?? '';
    assert.match(text, /\breturn\b|\bVerdict\.|^\s*\}|^\s*[?:]/, `${source}: ${text}`);
  }
});

test('a trace can be printed as text and as a diagram', () => {
  const walk = trace(twoNodes(), { from: 'pod/client', to: 'svc/web' });
  const lines = traceLines(walk).map(({ text }) => text);
  assert.is(lines[0], '→ n1: tcp 10.244.1.2:40000 > 10.96.0.10:80 S');
  assert.ok(lines.includes('dst 10.96.0.10:80 → 10.244.1.3:8080'));
  assert.ok(lines.includes('pod default/client reaches pod default/web'));
  const diagram = traceDiagram(walk);
  assert.match(diagram, /^sequenceDiagram\n {4}participant p0 as pod default\/client\n/);
  assert.not.match(diagram, / > /);
});

test.run();
