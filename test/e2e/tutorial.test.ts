/**
 * The commands of docs/tutorial.md, one after the other in one cluster: each prints what the document shows, except for what
 * varies (lib/console-blocks.ts). TUTORIAL=write puts the output of this run into the document.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Cluster, ROOT } from '../lib/cluster.ts';
import { Console, commandsOf, matches, normalised, withOutputs } from '../lib/console-blocks.ts';

const FILE = join(ROOT, 'docs/tutorial.md');
const UNORDERED = /dataplane (capture|observe|conntrack)/;
const document = readFileSync(FILE, 'utf8');
const test = suite('tutorial');
const cluster = new Cluster();
const terminal = new Console();
const outputs: string[] = [];

test.after(async () => {
  terminal.close();
  await cluster.down();
  if (process.env.TUTORIAL === 'write') writeFileSync(FILE, withOutputs(document, outputs));
});

const commands = commandsOf(document);
assert.ok(commands.length > 15);
for (const { command, output } of commands) {
  test(command.split('\n')[0]!, async () => {
    const actual = await terminal.type(command);
    outputs.push(actual);
    if (process.env.TUTORIAL === 'write') return;
    const unordered = UNORDERED.test(command);
    const [shown, got] = [normalised(output, unordered), normalised(actual, unordered)];
    if (!matches(shown, got)) assert.equal(got, shown);
  });
}
test.run();
