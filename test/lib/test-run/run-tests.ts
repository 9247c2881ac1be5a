/** Runs the tests of a file in this process, as uvu's own command does it (uvu/run): it asks for its queue to be run. */
import { pathToFileURL } from 'node:url';

const queue: unknown[][] = [];
Object.assign(globalThis, { UVU_DEFER: 1, UVU_INDEX: 0, UVU_QUEUE: queue });
const { exec } = await import('uvu');

/** Sets the exit code of the process. */
export async function runTests(path: string): Promise<void> {
  queue.splice(0, queue.length, [null]);
  try {
    await import(pathToFileURL(path).href);
    await exec();
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  }
}
