/** Tests that need something that this machine may lack. */
import { type Callback, type Test, test } from 'uvu';

type AddTest<T> = (name: string, body: Callback<T>) => void;

/** Why tests that need root cannot run; undefined if they can. */
export const whyNoRoot = (): string | undefined => (process.getuid?.() === 0 ? undefined : 'it needs root');

/** Adds tests to the suite. If there is a reason against them, they are skipped, and the reason is printed. */
export function testUnless<T>(
  why: string | undefined,
  suite: AddTest<T> & Pick<Test<T>, 'skip'> = test as unknown as Test<T>,
): AddTest<T> {
  if (why === undefined) return suite;
  console.log(`skipped: ${why}`);
  return suite.skip;
}
