/** The tests of runtime-images.test.ts, with containers started by crun. */
import { findProgram } from '../../src/linux/find-program.ts';

if (findProgram('crun') === undefined) console.log('skipped: crun is not installed');
else {
  process.env.DPRT_RUNTIME = 'crun';
  await import('./runtime-images.test.ts');
}
