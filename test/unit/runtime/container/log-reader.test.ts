/** Container logs with the options of clients. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LogOptions, readLog } from '../../../../src/runtime/container/log-reader.ts';
import { LogTimes, readLogTimes } from '../../../../src/runtime/container/log-times.ts';
import { beginLog, podDirectory } from '../../../../src/runtime/container/logs.ts';

const stateDir = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
test.after(() => rmSync(stateDir, { recursive: true }));
const place = { stateDir, namespace: 'default', pod: 'p', container: 'c' };
const directory = podDirectory(stateDir, 'default', 'p');
const log = join(directory, 'c.log');
mkdirSync(directory, { recursive: true });

async function read(options: LogOptions, ended = () => true, signal = new AbortController().signal): Promise<string> {
  let text = '';
  for await (const piece of readLog(place, options, ended, signal)) text += piece.toString();
  return text;
}

test('a client can read the whole log, its last lines, or a limited number of bytes', async () => {
  writeFileSync(log, 'one\ntwo\nthree\nfour');
  assert.is(await read({}), 'one\ntwo\nthree\nfour');
  assert.is(await read({ tailLines: 2 }), 'three\nfour');
  assert.is(await read({ tailLines: 0 }), '');
  assert.is(await read({ tailLines: 99 }), 'one\ntwo\nthree\nfour');
  assert.is(await read({ limitBytes: 6 }), 'one\ntw');
});

test('the last lines are found in a log of many chunks', async () => {
  const lines = Array.from({ length: 50_000 }, (_, i) => `line ${i}\n`);
  writeFileSync(log, lines.join(''));
  assert.is(await read({ tailLines: 20_000 }), lines.slice(-20_000).join(''));
  assert.is(await read({}), lines.join(''));
});

test('every line has the time at which the log grew to include it', async () => {
  writeFileSync(log, '');
  const times = new LogTimes(directory, 'c');
  const at = (ms: number, text: string) => {
    appendFileSync(log, text);
    times.look(ms);
  };
  at(1_000_000, 'a\n');
  at(2_000_000, 'b\nc\n');
  at(3_000_000, 'd\n');
  const time = readLogTimes(directory, 'c', false);
  assert.equal([0, 1, 2, 5, 6].map(time), [1_000_000, 1_000_000, 2_000_000, 2_000_000, 3_000_000]);
  assert.is(
    await read({ timestamps: true, tailLines: 2 }),
    '1970-01-01T00:33:20.000000000Z c\n1970-01-01T00:50:00.000000000Z d\n',
  );
  assert.is(await read({ sinceMs: 1_500_000 }), 'b\nc\nd\n');
  assert.is(await read({ sinceMs: 1_500_000, tailLines: 1 }), 'd\n');
  assert.is(await read({ sinceMs: 3_500_000 }), '');
  times.close();
});

test('output written without an agent has the time of the next check; a truncated log starts over', async () => {
  appendFileSync(log, 'e\n');
  const later = new LogTimes(directory, 'c');
  const found = readLogTimes(directory, 'c', false)(8);
  assert.ok(Math.abs(Date.now() - found) < 5000);
  truncateSync(log);
  appendFileSync(log, 'x\n');
  later.look(Date.now() + 60_000);
  assert.ok(readLogTimes(directory, 'c', false)(0) >= Date.now() + 50_000);
  later.close();
});

test('a new instance rotates log and times, which --previous shows', async () => {
  writeFileSync(log, '');
  const times = new LogTimes(directory, 'c');
  appendFileSync(log, 'old\n');
  times.look(9_000_000_000_000);
  times.close();
  const { closeSync } = await import('node:fs');
  closeSync(beginLog(directory, 'c'));
  appendFileSync(log, 'new\n');
  assert.is(await read({ previous: true }), 'old\n');
  assert.is(readLogTimes(directory, 'c', true)(0), 9_000_000_000_000);
  assert.is(await read({}), 'new\n');
});

test('follow: continues until the container has ended, including its last output', async () => {
  writeFileSync(log, 'a\n');
  let over = false;
  setTimeout(() => appendFileSync(log, 'b\n'), 30);
  setTimeout(() => {
    appendFileSync(log, 'c\n');
    over = true;
  }, 60);
  assert.is(await read({ follow: true }, () => over), 'a\nb\nc\n');
  const gone = new AbortController();
  setTimeout(() => gone.abort(), 30);
  assert.is(await read({ follow: true, tailLines: 0 }, () => false, gone.signal), '');
});

test.run();
