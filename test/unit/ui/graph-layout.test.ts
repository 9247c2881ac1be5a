/** Where the topology's parts are drawn, which lines connect them, and how keys move between them. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Box, layoutOf, neighbour, pointOn } from '../../../src/ui/graph-layout.ts';
import { drawnAtNodes, segmentAt, segmentsOf } from '../../../src/ui/graph-segments.ts';
import { LiveModel } from '../../../src/ui/live-model.ts';
import { flow, manyPods, TWO_NODES } from '../../lib/ui-fixture.ts';

const test = suite('layout of the topology');

const overlap = (a: Box, b: Box): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
const inside = (a: Box, b: Box): boolean =>
  a.x >= b.x && a.y >= b.y && a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height;

test('nothing overlaps, and every pod is inside its node: from no pod to 400, in wide and in high areas', () => {
  for (const count of [0, 1, 7, 60, 400]) {
    const { topology } = manyPods(count);
    for (const aspect of [0.5, 1, 1.75, 3]) {
      const { boxes, width, height } = layoutOf(topology, aspect);
      const all = [...boxes.values()];
      assert.is(all.length, 1 + topology.nodes.length + topology.services.length + count);
      for (const pod of topology.pods) assert.ok(inside(boxes.get(pod.id)!, boxes.get(`node:${pod.node}`)!), pod.id);
      const area = { id: '', kind: 'node', x: 0, y: 0, width, height } as const;
      for (const one of all) assert.ok(inside(one, area), `${one.id} of ${count} at ${aspect}`);
      const others = all.filter(({ kind }) => kind !== 'node');
      for (let i = 0; i < others.length; i++) {
        for (let j = 0; j < i; j++) assert.not.ok(overlap(others[i]!, others[j]!), `${others[i]!.id} ${others[j]!.id}`);
      }
    }
  }
});

test('a pod on no node, or on one that is not known, has a place too', () => {
  const [first, second] = TWO_NODES.pods;
  const pods = [
    { ...first!, node: '' },
    { ...second!, node: 'n9' },
  ];
  const { boxes } = layoutOf({ ...TWO_NODES, pods });
  for (const { id } of pods) assert.ok(inside(boxes.get(id)!, boxes.get('node:')!));
});

function segments() {
  const model = new LiveModel();
  model.setTopology(TWO_NODES);
  model.addFlow(flow(), 0);
  model.addFlow(flow({ destination_service: undefined }), 0);
  const layout = layoutOf(TWO_NODES);
  return { layout, found: segmentsOf(model.whole().edges ?? [], layout) };
}

test('a connection to a Service is two lines, to the Service and to the endpoint; one without is one line', () => {
  assert.equal(
    segments()
      .found.map(({ id }) => id)
      .sort(),
    ['pod:default/client pod:default/web', 'pod:default/client svc:default/web', 'svc:default/web pod:default/web'],
  );
});

test('with many pods, lines go to their nodes, except for those of what is selected', () => {
  const { topology, flows } = manyPods(200);
  const model = new LiveModel();
  model.setTopology(topology);
  for (const one of flows) model.addFlow(one, 0);
  const edges = model.whole().edges ?? [];
  const layout = layoutOf(topology);
  const lines = (selected: string) =>
    segmentsOf(edges, layout, drawnAtNodes(topology, selected)).filter(({ id }) => id.includes('pod:'));
  assert.is(edges.length, 400);
  assert.equal(lines(''), []);
  const [first] = topology.pods;
  assert.ok(lines(first!.id).length >= 3);
  assert.ok(lines(first!.id).every(({ edges: own }) => own.length < 10));
  assert.equal(drawnAtNodes(TWO_NODES, '')('pod:default/web', edges[0]!), 'pod:default/web');
});

test('a line is found near its curve, and only there', () => {
  const { found } = segments();
  for (const segment of found) {
    const { x, y } = pointOn(segment.curve, 0.5);
    assert.is(segmentAt(found, { x: x + 1, y }, 8)?.id, segment.id);
  }
  assert.is(segmentAt(found, { x: -500, y: -500 }, 8), undefined);
});

test('arrow keys reach every part from the outside', () => {
  const { topology } = manyPods(40);
  const layout = layoutOf(topology, 1.75);
  const reached = new Set(['outside']);
  for (const id of reached) {
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ] as const)
      reached.add(neighbour(layout, id, dx, dy));
  }
  const missing = [...layout.boxes.keys()].filter((id) => !reached.has(id));
  assert.equal(missing, []);
});

test.run();
