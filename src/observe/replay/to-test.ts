/**
 * A recording as a test: a program for `node --test` that contains the snapshot and the capture, replays them with the
 * command, and compares what comes out, packet by packet, with lines that people can read and change.
 */
import type { PacketOutcome } from './compare.ts';

export interface TestInput {
  /** Name of the test. */
  readonly title: string;
  /** Of the program that wrote it. */
  readonly version: string;
  readonly snapshot: Uint8Array;
  readonly capture: Uint8Array;
  readonly outcomes: readonly PacketOutcome[];
}

/** Characters of base64 in a line. */
const COLUMNS = 120;

/** One line for each packet: `3 n2 tcp 10.244.2.2:4000 > 10.96.1.0:80 S: encapsulated; port 0: vxlan …` */
export function outcomeLine({ number, node, packet, verdict, sent }: PacketOutcome): string {
  const frames = sent.map(({ port, packet: frame }) => `; port ${port}: ${frame}`);
  return `${number} ${node} ${packet}: ${verdict}${frames.join('')}`;
}

export function testSource({ title, version, snapshot, capture, outcomes }: TestInput): string {
  return `// Written by \`dataplane replay --to-test\`, version ${version}.
//
//   DATAPLANE=dist/bundle/cli/main.js node --test FILE
//
// EXPECTED is what this version did: change the lines of what is wrong to what should have happened. The test fails until
// that is so. Without DATAPLANE, the command \`dataplane\` is used. The snapshot fits versions with the same layout of tables.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

/** Number, node, packet, verdict, and what was sent at which port. */
const EXPECTED = ${JSON.stringify(outcomes.map(outcomeLine), null, 2)};

const SNAPSHOT = \`
${base64(snapshot)}\`;

const CAPTURE = \`
${base64(capture)}\`;

test(${JSON.stringify(title)}, () => {
  const directory = mkdtempSync(join(tmpdir(), 'replay-'));
  try {
    const files = [join(directory, 'snapshot'), join(directory, 'capture.pcapng')];
    writeFileSync(files[0], Buffer.from(SNAPSHOT, 'base64'));
    writeFileSync(files[1], Buffer.from(CAPTURE, 'base64'));
    const { DATAPLANE } = process.env;
    const [program, ...first] = DATAPLANE === undefined ? ['dataplane'] : [process.execPath, DATAPLANE];
    const { stdout, stderr } = spawnSync(program, [...first, 'replay', ...files, '--outcomes'], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    assert.notEqual(stdout, '', stderr);
    assert.deepEqual(stdout.trimEnd().split('\\n'), EXPECTED);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
`;
}

function base64(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('base64');
  return text.replace(new RegExp(`.{1,${COLUMNS}}`, 'g'), '$&\n');
}
