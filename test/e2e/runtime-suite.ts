/**
 * Suites of the runtime's tests: a world for each test, in a network namespace that plays the node. A test file runs itself
 * again inside that namespace. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite, type Test } from 'uvu';
import { RUN, run, World } from './runtime-world.ts';

const NODE = `dprt-node-${RUN}`;

/** Returns in the process inside the namespace alone: the one outside ends with its status. */
function enterNode(file: string): void {
  if (process.env.DPRT_RUN !== undefined) return;
  if (process.getuid?.() !== 0) {
    console.log('runtime: skipped, needs root');
    process.exit();
  }
  run('ip', 'netns', 'add', NODE);
  run('ip', '-n', NODE, 'link', 'set', 'lo', 'up');
  run('ip', '-n', NODE, 'address', 'add', '10.199.0.1/32', 'dev', 'lo');
  const words = [`--net=/run/netns/${NODE}`, '--', process.execPath, fileURLToPath(file)];
  const { status } = spawnSync('nsenter', words, { stdio: 'inherit', env: { ...process.env, DPRT_RUN: RUN } });
  spawnSync('ip', ['netns', 'delete', NODE]);
  process.exit(status ?? 1);
}

/**
 * @param file `import.meta.url` of the test file
 * @returns left: what the tests left behind, to be looked at by the last one; uvu takes an error thrown after a test for the
 * end of the suite
 */
export function runtimeSuite(name: string, file: string): { test: Test<{ world: World }>; left: readonly string[] } {
  enterNode(file);
  const test = suite<{ world: World }>(name);
  const left: string[] = [];
  test.before.each((context) => {
    context.world = new World();
  });
  test.after.each(async ({ world }) => {
    await world.close();
    left.push(...world.leftovers());
  });
  return { test, left };
}
