/**
 * Saves what V8 compiles from a bundled program, so that its next start compiles nothing (src/start/start.ts). V8 takes it
 * only if its version and flags are those of now.
 *
 *   node scripts/code-cache.mjs PROGRAM [ARGUMENTS]…
 *
 * Without arguments all functions are compiled. With arguments, each a list separated by commas, the program is run with each
 * of them, and what that compiled is saved: less to load, for a program that uses only a small part of itself at a time. They
 * must be arguments that change nothing.
 */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';

const { codeFile, runScript, scriptOf } = createRequire(import.meta.url)('../dist/bundle/start/main.js');
const [program, ...runs] = process.argv.slice(2);
/** How long a run may take until it has ended or waits, milliseconds. */
const RUN_MS = 300;

// The flag is part of V8's key only at the moment of saving.
if (runs.length === 0) setFlagsFromString('--no-lazy');
const script = scriptOf(program);
setFlagsFromString('--lazy');

const main = join(dirname(program), 'main.js');
const { argv, exit } = process;
process.exit = () => {};
for (const run of runs) {
  process.argv = [argv[0], main, ...run.split(',')];
  runScript(script, main);
  await sleep(RUN_MS);
}
writeFileSync(codeFile(program), script.createCachedData());
exit(0);
