import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { colourOf } from '../../../../src/cli/output/highlight.ts';
import { layOut, tableText, wrap } from '../../../../src/cli/output/table.ts';

const test = suite('tables');

const PODS = [
  ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES'],
  ['mc3-7d9c5b6f4d-abcde', '0/2', 'CrashLoopBackOff', '12 (3m ago)', '5m20s', '10.244.1.2', 'n1', '<none>', '<none>'],
  ['client', '1/1', 'Running', '0', '5m20s', '10.244.2.2', 'n2', '<none>', '<none>'],
];
const widest = (text: string) => Math.max(...text.split('\n').map((line) => line.length));
const terminal = (columns: number) => ({ columns, colour: false });

test('columns are separated by three spaces, and lines have no trailing spaces', () => {
  assert.is(
    layOut([
      ['NAME', 'AGE'],
      ['a-long-name', ''],
    ]),
    'NAME          AGE\na-long-name\n',
  );
});

test('in a pipe every column is printed, however wide', () => {
  assert.is(tableText(PODS, { terminal: undefined }), layOut(PODS));
  assert.match(layOut(PODS), 'NOMINATED NODE');
});

test('on a terminal a column without any value is omitted, except for the first', () => {
  const text = tableText(PODS, { terminal: terminal(200) });
  assert.not.match(text, 'NOMINATED');
  assert.match(text, /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE\n/);
  assert.match(tableText([['NAME'], ['<none>']], { terminal: terminal(80) }), 'NAME');
});

test('a table fits the terminal: the widest cells are wrapped, and no character is lost', () => {
  for (const columns of [120, 80, 70]) {
    const text = tableText(PODS, { terminal: terminal(columns) });
    assert.ok(widest(text) <= columns, `${widest(text)} columns of ${columns}:\n${text}`);
  }
  const [first = '', second = ''] = tableText(
    [
      ['NAME', 'SELECTOR'],
      ['s', 'app.kubernetes.io/name=mc3,app.kubernetes.io/component=web'],
    ],
    { terminal: terminal(40) },
  )
    .split('\n')
    .slice(1);
  assert.is(`${first.slice(6)}${second.trim()}`, 'app.kubernetes.io/name=mc3,app.kubernetes.io/component=web');
});

test('text is broken after spaces and punctuation; words that fit on a line are not broken', () => {
  assert.equal(wrap('one two three', 8), ['one two', 'three']);
  assert.equal(wrap('app=mc3,tier=web', 10), ['app=mc3,', 'tier=web']);
  assert.equal(wrap('abcdefghij', 4), ['abcd', 'efgh', 'ij']);
  assert.equal(wrap('', 4), ['']);
});

test('problems are coloured, only on a terminal with colours', () => {
  assert.is(colourOf('STATUS', 'CrashLoopBackOff'), 'red');
  assert.is(colourOf('STATUS', 'NotReady'), 'red');
  assert.is(colourOf('STATUS', 'Pending'), 'yellow');
  assert.is(colourOf('READY', '0/2'), 'yellow');
  assert.is(colourOf('DROPS', 'no-endpoint=3'), 'yellow');
  assert.is(colourOf('AGENT', 'not running'), 'red');
  for (const [header, cell] of [
    ['STATUS', 'Running'],
    ['STATUS', 'Ready'],
    ['READY', '2/2'],
    ['DROPS', '0'],
    ['NAME', 'NotReady'],
  ] as const) {
    assert.is(colourOf(header, cell), undefined, `${header} ${cell}`);
  }
  const text = tableText(PODS, { terminal: { columns: 200, colour: true } });
  assert.match(text, '\x1b[31mCrashLoopBackOff\x1b[0m   12 (3m ago)');
  assert.not.match(tableText(PODS, { terminal: terminal(200) }), '\x1b[');
});

test.run();
