/** The tests of runtime-images.test.ts, with containers started by runc. */
import { findProgram } from '../../src/linux/find-program.ts';

if (findProgram('runc') === undefined) console.log('skipped: runc is not installed');
else {
  process.env.DPRT_RUNTIME = 'runc';
  await import('./runtime-images.test.ts');
}
