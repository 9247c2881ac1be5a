/** The tests of runtime-images.test.ts, with containers started by runc: from the same bundles as by crun. */
import { testImagesBy } from '../lib/images-by.ts';

await testImagesBy(
  'runc',
  process.env.IMAGES_FULL === '1' ? undefined : 'only with IMAGES_FULL=1 (npm run test:images)',
);
