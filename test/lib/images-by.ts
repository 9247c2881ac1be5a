/** The tests of runtime-images.test.ts, with containers started by another runtime; one skipped test if there is a reason. */
import { test } from 'uvu';
import { findProgram } from '../../src/linux/find-program.ts';
import { testUnless } from './test-unless.ts';

/** @param why a reason against it, besides that the program is not installed */
export async function testImagesBy(runtime: 'crun' | 'runc', why?: string): Promise<void> {
  const reason = why ?? (findProgram(runtime) === undefined ? `${runtime} is not installed` : undefined);
  if (reason !== undefined) {
    testUnless(reason)(`images by ${runtime}`, () => {});
    test.run();
    return;
  }
  process.env.DPRT_RUNTIME = runtime;
  await import('../e2e/runtime-images.test.ts');
}
