/** The tests of runtime-images.test.ts, with containers started by crun. */
import { testImagesBy } from '../lib/images-by.ts';

await testImagesBy('crun');
