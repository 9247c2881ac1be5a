import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { warmUp } from '../../../src/worker/warm-up.ts';

test('every packet of the warm-up is forwarded', () => {
  const { sent, forwarded } = warmUp();
  assert.ok(sent > 10_000);
  assert.is(forwarded, sent);
});

test.run();
