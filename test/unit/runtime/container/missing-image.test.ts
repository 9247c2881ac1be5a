import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { missingImage } from '../../../../src/runtime/container/missing-image.ts';

const ADVICE = 'load it';

test('the first time an image is missing is ErrImagePull, afterwards ImagePullBackOff', () => {
  const first = missingImage({ image: 'shop:1' }, 'ContainerCreating', ADVICE);
  assert.equal(first, {
    reason: 'ErrImagePull',
    message: ADVICE,
    events: [
      ['Normal', 'Pulling', 'Pulling image "shop:1"'],
      ['Warning', 'Failed', `Failed to pull image "shop:1": ${ADVICE}`],
      ['Warning', 'Failed', 'Error: ErrImagePull'],
    ],
  });
  for (const before of ['ErrImagePull', 'ImagePullBackOff']) {
    const next = missingImage({ image: 'shop:1' }, before, ADVICE);
    assert.is(next.reason, 'ImagePullBackOff');
    assert.is(next.message, `Back-off pulling image "shop:1": ErrImagePull: ${ADVICE}`);
    assert.equal(next.events[0], ['Normal', 'BackOff', 'Back-off pulling image "shop:1"']);
  }
});

test('imagePullPolicy Never is ErrImageNeverPull; what is not a name is InvalidImageName', () => {
  const never = missingImage({ image: 'shop:1', imagePullPolicy: 'Never' }, 'ErrImagePull', ADVICE);
  assert.is(never.reason, 'ErrImageNeverPull');
  assert.match(never.message, /^Container image "shop:1" is not present with pull policy of Never: load it$/);
  assert.is(missingImage({ image: 'No Name', imagePullPolicy: 'Never' }, undefined, ADVICE).reason, 'InvalidImageName');
});

test.run();
