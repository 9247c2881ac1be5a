/** The screen of `dataplane top`, and drops as people read them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { VERDICTS, Verdict, type VerdictRow } from '../../../../native-free-dataplane/verdicts.ts';
import { dropsText } from '../../../../src/cli/output/drops.ts';
import { fitScreen, loadText, printRate, sortNodes, sortWorkers } from '../../../../src/cli/output/load-screen.ts';
import type { Load, NodeLoad, WorkerLoad } from '../../../../src/cli/sources/load.ts';
import { addresses, TO_WEB } from '../../../lib/flows.ts';

const node = (name: string, framesInPerSecond: number, dropsPerSecond: number): NodeLoad => ({
  node: name,
  framesInPerSecond,
  bytesInPerSecond: framesInPerSecond * 100,
  framesOutPerSecond: 0,
  bytesOutPerSecond: 0,
  dropsPerSecond,
  connections: { entries: 3, max: 1024 },
});
const worker = (name: string, id: number, framesInPerSecond: number): WorkerLoad => ({
  node: name,
  id,
  threadState: 'running',
  framesInPerSecond,
  framesOutPerSecond: 0,
  dropsPerSecond: 0,
});

const LOAD: Load = {
  seconds: 1,
  nodes: [node('n2', 50, 0), node('n1', 5, 7)],
  workers: [worker('n2', 0, 5), worker('n1', 1, 45), worker('n1', 0, 45)],
  flows: [{ node: 'n1', flow: TO_WEB, bytesPerSecond: 1_250_000, packetsPerSecond: 1000 }],
};

test('rates have three digits and a unit', () => {
  assert.equal([0, 7, 0.5, 12.34, 999, 999.9, 45_600, 1.5e9, 2e12].map(printRate), [
    ...['0', '7', '0.500', '12.3', '999', '1.00k', '45.6k', '1.50G', '2.00T'],
  ]);
});

test('by a figure the largest is first, by name the order is that of the alphabet', () => {
  const names = (nodes: readonly NodeLoad[]) => nodes.map((one) => one.node);
  assert.equal(names(sortNodes(LOAD.nodes, 'name')), ['n1', 'n2']);
  assert.equal(names(sortNodes(LOAD.nodes, 'bytes')), ['n2', 'n1']);
  assert.equal(names(sortNodes(LOAD.nodes, 'drops')), ['n1', 'n2']);
  assert.equal(
    sortWorkers(LOAD.workers, 'packets').map(({ node: name, id }) => `${name}/${id}`),
    ['n1/0', 'n1/1', 'n2/0'],
  );
});

test('a connection has the names of client, endpoint and Service', () => {
  const text = loadText(LOAD, 'name', addresses());
  assert.match(text, /^n1 +tcp +10\.0M +1\.00k +default\/client:40000 +shop\/web-7d4b9:8080 \(Service shop\/web\)$/m);
});

test('the screen is never scrolled: lines and columns are cut', () => {
  assert.equal(fitScreen('abcdef\n12\n3\n', 3, 2), ['abc', '12']);
});

test('drops have their sentence and advice, the node and since when', () => {
  const row = VERDICTS[Verdict.NO_ROUTE_BACK] as VerdictRow;
  const text = dropsText(
    [
      { node: 'n1', since: '2026-11-28T12:00:00.000Z', failures: [{ row, count: 3 }] },
      { node: 'n2', since: undefined, failures: [] },
    ],
    new Map(),
    60,
  );
  const [head, reason, ...rest] = text.split('\n');
  assert.is(head, 'Node n1: 3 packets did not arrive since 2026-11-28T12:00:00.000Z');
  assert.is(reason, '  no-route-back: 3 dropped');
  assert.is(rest.pop(), 'Node n2: no drops');
  assert.is(rest.map((line) => line.trim()).join(' '), `${row.sentence} ${row.advice}`);
  assert.ok(rest.every((line) => line.length <= 60));
});

test.run();
