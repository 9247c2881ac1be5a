import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseMounts, readMounts } from '../../../src/linux/mountinfo.ts';

test('optional fields are skipped, and escapes in paths are decoded', () => {
  const text =
    '36 35 98:0 /mnt1 /a\\040b rw,noexec master:1 shared:2 - overlay none rw,lowerdir=x:y\n' +
    '37 35 98:0 / /c ro - tmpfs tmpfs rw\n';
  assert.equal(parseMounts(text), [
    { path: '/a b', fileSystem: 'overlay', options: ['rw', 'noexec'], superOptions: ['rw', 'lowerdir=x:y'] },
    { path: '/c', fileSystem: 'tmpfs', options: ['ro'], superOptions: ['rw'] },
  ]);
});

test('the mounts of this process and of another', () => {
  assert.ok(readMounts().some(({ path, fileSystem }) => path === '/proc' && fileSystem === 'proc'));
  assert.equal(readMounts(process.pid), readMounts());
  assert.equal(parseMounts(''), []);
});

test.run();
