/** When a node is short of storage, and the messages about it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { evictionMessage, isShort, pressureMessage, type Room } from '../../../../src/runtime/pod/storage-limits.ts';

const MIB = 2 ** 20;
const bytes = (free: number): Room => ({ counted: 'bytes', total: 100 * MIB, free });
const files = (free: number): Room => ({ counted: 'inodes', total: 1000, free });

test('a node is short of storage with less than a tenth of the bytes, or a twentieth of the files, left', () => {
  assert.equal(
    [10 * MIB, 10 * MIB - 1, 0].map((free) => isShort(bytes(free))),
    [false, true, true],
  );
  assert.equal(
    [50, 49, 0].map((free) => isShort(files(free))),
    [false, true, true],
  );
  assert.not(isShort({ counted: 'inodes', total: 0, free: 0 }), 'a file system that does not limit its files');
});

test('the messages name what is short, and how much of it there is', () => {
  assert.is(
    evictionMessage(bytes(MIB), 60 * MIB),
    'The node was low on resource: ephemeral-storage. Threshold quantity: 10Mi, available: 1Mi. The pod was using 60Mi. ',
  );
  assert.is(
    evictionMessage(files(3), 900),
    'The node was low on resource: inodes. Threshold quantity: 50, available: 3. The pod was using 900. ',
  );
  assert.match(pressureMessage(bytes(MIB), '/run/dataplane'), '1Mi of 100Mi are free where /run/dataplane is');
  assert.match(pressureMessage(files(3), '/run/dataplane'), '3 of 1000 files are free where /run/dataplane is');
});

test.run();
