/** Tests that need something that this machine may lack. */
import { test } from 'uvu';

/** `test`; if there is a reason against it, `test.skip`, and the reason is printed. */
export function testUnless(why: string | undefined): (...args: Parameters<typeof test>) => void {
  if (why === undefined) return test;
  console.log(`skipped: ${why}`);
  return test.skip;
}
