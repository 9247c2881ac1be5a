/** Traced packets in groups of the same path. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Paths, pathLines } from '../../../../src/observe/trace/paths.ts';
import type { NodeTrace } from '../../../../src/observe/trace/step.ts';
import { TestNode } from '../../../lib/test-node.ts';
import { traceArgs } from '../../../lib/traced-walk.ts';

const test = suite('paths');

const node = new TestNode({ number: 1 })
  .pod('client', '10.244.1.2')
  .pod('web', '10.244.1.3')
  .service('tcp 10.96.0.10:80', { endpoints: ['10.244.1.3:8080'] })
  .service('tcp 10.96.0.12:80', { endpoints: [] });

const traces = (to: string, srcPort: number): readonly NodeTrace[] =>
  traceArgs([node], { from: '10.244.1.2', to, srcPort }).traces.slice(0, 1);

test('packets with the same decisions are one path, whatever their ports; the most frequent comes first', () => {
  const paths = new Paths();
  paths.add(traces('10.96.0.12:80', 1), 1);
  for (let port = 2; port < 5; port++) paths.add(traces('10.96.0.10:80', port), port);
  assert.equal(
    paths.all.map(({ packets, first, nodes }) => [packets, first, nodes.map(({ verdict }) => verdict)]),
    [
      [3, 2, ['forwarded']],
      [1, 1, ['rejected-tcp-reset']],
    ],
  );
  const [head, way] = pathLines(paths).map(({ text }) => text);
  assert.is(head, 'path 1: 3 packets, first 2: tcp 10.244.1.2:2 > 10.96.0.10:80 S');
  assert.match(way ?? '', /^n1: parse \(stages\/parse\.ts:\d+\) > guard .* > send \(transmit\.ts:\d+\): forwarded$/);
});

test('the number of paths is bounded; packets beyond it are counted', () => {
  const paths = new Paths();
  const [one] = traces('10.96.0.10:80', 1);
  for (let i = 0; i < 1002; i++) paths.add([{ ...one!, node: `n${i}` }], i + 1);
  assert.is(paths.all.length, 1000);
  assert.is(paths.others, 2);
  assert.match(pathLines(paths).at(-1)?.text ?? '', /^2 packets on more than 1000 other paths$/);
});

test.run();
