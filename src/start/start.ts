/**
 * Starts a bundled program: one file that contains everything it runs but the native packages. Beside it lies the code that
 * V8 compiled from it when the bundle was built (scripts/code-cache.mjs). V8 takes that code only if version and flags are
 * the same, else it compiles the source as usual.
 *
 * The file is a CommonJS module, since only Node itself can save V8's code of an ES module.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Script } from 'node:vm';
import { mapStackTraces } from './stack-traces.ts';

const PARAMETERS = 'exports, require, module, __filename, __dirname, importOutside';

/** The file with the code that belongs to a program. */
export const codeFile = (program: string): string => program.replace(/\.js$/, '.code');

/**
 * A program as a script that has not run. Its value is a function with PARAMETERS.
 * @param program the path of its file
 */
export function scriptOf(program: string): Script {
  // Bundles are ASCII. Read as such, the source takes one byte per character, and is not decoded.
  const source = readFileSync(program, 'latin1');
  return new Script(`(function (${PARAMETERS}) {${source}\n})`, {
    filename: program,
    cachedData: read(codeFile(program)),
  });
}

/**
 * Runs a program.
 * @param main the file that Node was started with; the program is beside it, and takes it for its own
 * @param name the program's file
 * @returns what it exports
 */
export function start(main: string, name: string): unknown {
  const program = join(dirname(main), name);
  mapStackTraces(program);
  return runScript(scriptOf(program), main);
}

/** Runs the script of a program. */
export function runScript(script: Script, main: string): unknown {
  const module = { exports: {} };
  const run = script.runInThisContext();
  run(module.exports, createRequire(main), module, main, dirname(main), (url: string) => import(url));
  return module.exports;
}

function read(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
