/** From flows to edges: what is one edge, what counts as a connection, and rates. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EdgeBook } from '../../../src/ui/edges.ts';
import { beginsConnection, Directory, endsOf } from '../../../src/ui/flow-ends.ts';
import { LiveModel } from '../../../src/ui/live-model.ts';
import { flow, TWO_NODES } from '../../lib/ui-fixture.ts';

const test = suite('edges');
const directory = new Directory(TWO_NODES);
const DROP = { type: 1, sub_type: 133 };

test('an edge goes from the client through the Service to the endpoint, with the port that the client asked for', () => {
  const ends = endsOf(flow(), directory)!;
  assert.equal(
    [ends.from, ends.service, ends.to, ends.protocol, ends.port],
    ['pod:default/client', 'svc:default/web', 'pod:default/web', 'tcp', 80],
  );
  assert.equal(ends.sample, { from: '10.244.2.2', to: '10.96.1.0', protocol: 'tcp', port: 80, srcPort: 40000 });
});

test('a reply belongs to the edge of its connection', () => {
  const reply = flow({
    is_reply: true,
    IP: { source: '10.244.1.2', destination: '10.244.2.2', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 8080, destination_port: 40000, flags: { SYN: true, ACK: true } } },
    source: flow().destination!,
    destination: flow().source!,
    source_service: { name: 'web', namespace: 'default' },
    destination_service: undefined,
  });
  assert.equal(endsOf(reply, directory), endsOf(flow(), directory));
});

test('from outside, the packet to walk goes to a NodePort', () => {
  const outside = flow({
    IP: { source: '172.18.0.1', destination: '10.244.1.2', ipVersion: 'IPv4' },
    source: { identity: 2, labels: ['reserved:world'] },
  });
  const ends = endsOf(outside, directory)!;
  assert.is(ends.from, 'outside');
  assert.equal([ends.sample.to, ends.sample.port], ['172.18.0.11', 30080]);
});

test('a program of a node is the node, by any of its addresses', () => {
  for (const source of ['172.18.0.12', '10.244.2.1']) {
    const host = flow({
      IP: { source, destination: '10.244.1.2', ipVersion: 'IPv4' },
      source: { identity: 1, labels: ['reserved:host'] },
    });
    const ends = endsOf(host, directory)!;
    assert.equal([ends.from, ends.sample.from], ['node:n2', 'node/n2'], source);
  }
});

test('a Service without an endpoint is the end of its edge', () => {
  const refused = flow({
    verdict: 'DROPPED',
    event_type: DROP,
    IP: { source: '10.244.2.2', destination: '10.96.1.1', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 40000, destination_port: 80, flags: { SYN: true } } },
    destination: { identity: 2, labels: [] },
    destination_service: { name: 'none', namespace: 'default' },
  });
  const ends = endsOf(refused, directory)!;
  assert.equal([ends.service, ends.to], ['svc:default/none', '']);
});

test('a connection counts once, where it begins: not at the nodes that it passes, not its replies, not its later states', () => {
  assert.ok(beginsConnection(flow(), directory));
  assert.not.ok(beginsConnection(flow({ node_name: 'n1' }), directory), 'the receiving node');
  assert.not.ok(beginsConnection(flow({ is_reply: true }), directory), 'a reply');
  const established = { TCP: { source_port: 1, destination_port: 2, flags: { ACK: true } } } as const;
  assert.not.ok(beginsConnection(flow({ l4: established }), directory), 'established');
  assert.not.ok(beginsConnection(flow({ event_type: { type: 5, sub_type: 0 } }), directory), 'a verdict of policies');
  assert.not.ok(beginsConnection(flow({ is_reply: undefined }), directory), 'its end');
  assert.ok(beginsConnection(flow({ l4: { UDP: { source_port: 1, destination_port: 53 } } }), directory), 'UDP');
});

test('the model counts connections and drops of an edge, with the reason of the last drop', () => {
  const model = new LiveModel();
  model.setTopology(TWO_NODES);
  for (let i = 0; i < 3; i++) model.addFlow(flow(), 0);
  const denied = flow({ verdict: 'DROPPED', event_type: DROP, Summary: 'policy-ingress: TCP Flags: SYN' });
  model.addFlow(denied, 0);
  // Before the drop, the verdict of the policies: the same packet.
  model.addFlow({ ...denied, event_type: { type: 5, sub_type: 0 } }, 0);
  const [edge, ...more] = model.whole().edges ?? [];
  assert.equal(more, []);
  assert.equal([edge?.opened, edge?.dropped, edge?.lastDrop], [3, 1, 'policy-ingress']);
});

test('a rate settles at what happens in a second, and falls to 0 when nothing does', () => {
  const book = new EdgeBook();
  const ends = endsOf(flow(), directory)!;
  let nowMs = 0;
  const second = (count: number) => {
    for (let i = 0; i < 4; i++) {
      for (let n = 0; n < count / 4; n++) book.opened(ends, nowMs);
      nowMs += 250;
      book.tick(250, nowMs);
    }
  };
  for (let i = 0; i < 20; i++) second(8);
  const rate = book.all()[0]!.openedPerSecond;
  assert.ok(rate > 7.9 && rate < 8.1, `${rate}`);
  for (let i = 0; i < 20; i++) second(0);
  assert.is(book.all()[0]!.openedPerSecond, 0);
});

test('bytes are those of the last measurement', () => {
  const book = new EdgeBook();
  const ends = endsOf(flow(), directory)!;
  book.carried(
    [
      { ends, bytesPerSecond: 1000 },
      { ends, bytesPerSecond: 500 },
    ],
    0,
  );
  assert.is(book.all()[0]!.bytesPerSecond, 1500);
  book.carried([], 1);
  assert.is(book.all()[0]!.bytesPerSecond, 0);
});

test('edges are bounded: the one that was quiet the longest goes, and readers get all anew', () => {
  const book = new EdgeBook();
  const ends = endsOf(flow(), directory)!;
  for (let port = 1; port <= 2001; port++) book.opened({ ...ends, port }, port);
  assert.is(book.size, 2000);
  const { whole, edges } = book.changed();
  assert.ok(whole);
  assert.not.ok(edges.some(({ port }) => port === 1));
  assert.equal(book.changed(), { edges: [], whole: false });
});

test('an edge without traffic for ten minutes is removed', () => {
  const book = new EdgeBook();
  book.opened(endsOf(flow(), directory)!, 0);
  book.tick(250, 599_000);
  assert.is(book.size, 1);
  book.tick(250, 601_000);
  assert.is(book.size, 0);
});

test.run();
