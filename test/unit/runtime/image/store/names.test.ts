import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StoredImage } from '../../../../../src/runtime/image/store/index-file.ts';
import { findImage, withLoaded, withoutName } from '../../../../../src/runtime/image/store/names.ts';

const image = (id: string, names: string[], digests: string[] = []): StoredImage => ({
  id: `sha256:${id.repeat(64)}`,
  ...{ names, digests, layers: ['l'], bytes: 1, loadedAt: '' },
  config: { entrypoint: [], cmd: [], env: [], workingDir: '', user: '', stopSignal: '' },
});

const MANIFEST = `sha256:${'d'.repeat(64)}`;
const nginx = image('a', ['docker.io/library/nginx:1.27', 'quay.io/copy/nginx:1'], [MANIFEST]);
const built = image('b', ['localhost/shop:1']);
const images = [nginx, built];

test('an image is found by any spelling of its name, by digest, and by ID', () => {
  const spellings = ['nginx:1.27', 'library/nginx:1.27', 'docker.io/library/nginx:1.27', 'quay.io/copy/nginx:1'];
  const digests = [`nginx@${MANIFEST}`, `nginx:other@${MANIFEST}`, `nginx@${nginx.id}`, nginx.id, 'a'.repeat(12)];
  for (const text of [...spellings, ...digests]) assert.is(findImage(images, text), nginx, text);
  for (const text of [
    'nginx',
    'nginx:1.28',
    'quay.io/nginx:1.27',
    `nginx@sha256:${'0'.repeat(64)}`,
    'aaaa',
    'c'.repeat(12),
  ]) {
    assert.is(findImage(images, text), undefined, text);
  }
});

test('a digest counts, and the tag beside it does not', () => {
  assert.is(findImage(images, `nginx:1.27@sha256:${'0'.repeat(64)}`), undefined);
});

test('a name without registry may be one of localhost/, with a registry not', () => {
  assert.is(findImage(images, 'shop:1'), built);
  assert.is(findImage(images, 'docker.io/shop:1'), undefined);
});

test('removing a name removes the image with its last one; removing an ID removes all names', () => {
  const once = withoutName(images, 'nginx:1.27');
  assert.equal(
    once.map(({ names }) => names),
    [['quay.io/copy/nginx:1'], ['localhost/shop:1']],
  );
  assert.equal(withoutName(once, 'quay.io/copy/nginx:1'), [built]);
  assert.equal(withoutName(images, nginx.id), [built]);
});

test('a loaded image takes its name from the image that had it, which goes with its last name', () => {
  const fresh = image('c', ['docker.io/library/nginx:1.27', 'localhost/shop:1']);
  assert.equal(withLoaded(images, [fresh]), [{ ...nginx, names: ['quay.io/copy/nginx:1'] }, fresh]);
});

test('the same image loaded under another name has both', () => {
  const again = { ...nginx, names: ['web:1'], digests: [] };
  assert.equal(withLoaded(images, [again]).at(-1)?.names, [...nginx.names, 'web:1']);
  assert.equal(withLoaded(images, [again]).at(-1)?.digests, [MANIFEST]);
});

test.run();
