/**
 * Suites of the runtime's tests: each test has a RuntimeFixture, in a network namespace that acts as the node. A test
 * file runs itself again inside that namespace. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { suite, type Test } from 'uvu';
import { RUN, RuntimeFixture, run } from './runtime-fixture.ts';

const NODE = `dprt-node-${RUN}`;

/** Returns only in the process inside the namespace; the one outside exits with the status of that. */
function enterNode(file: string): void {
  if (process.env.DPRT_RUN !== undefined) return;
  if (process.getuid?.() !== 0) {
    console.log('runtime: skipped, needs root');
    process.exit();
  }
  run('ip', 'netns', 'add', NODE);
  run('ip', '-n', NODE, 'link', 'set', 'lo', 'up');
  run('ip', '-n', NODE, 'address', 'add', '10.199.0.1/32', 'dev', 'lo');
  const args = [`--net=/run/netns/${NODE}`, '--', process.execPath, fileURLToPath(file)];
  const { status } = spawnSync('nsenter', args, { stdio: 'inherit', env: { ...process.env, DPRT_RUN: RUN } });
  spawnSync('ip', ['netns', 'delete', NODE]);
  process.exit(status ?? 1);
}

/**
 * @param file `import.meta.url` of the test file
 * @returns left: what the tests left behind, to be looked at by the last one; uvu takes an error thrown after a test
 * for the end of the suite
 */
export function runtimeSuite(
  name: string,
  file: string,
): { test: Test<{ runtime: RuntimeFixture }>; left: readonly string[] } {
  enterNode(file);
  const test = suite<{ runtime: RuntimeFixture }>(name);
  const left: string[] = [];
  test.before.each((context) => {
    context.runtime = new RuntimeFixture();
  });
  test.after.each(async ({ runtime }) => {
    await runtime.close();
    left.push(...runtime.leftovers());
  });
  return { test, left };
}
