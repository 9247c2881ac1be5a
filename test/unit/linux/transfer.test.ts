/** read and write at numeric addresses: bytes, the end of a file, and errors as the C library reports them. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EAGAIN, errno, eventfd, mapPrivate, read, write } from '../../../src/linux/ffi.ts';

const EBADF = 9;
const EFD_NONBLOCK = 0o4000;
const memory = mapPrivate(4096);
const bytes = new Uint8Array(memory.buffer);
const directory = mkdtempSync(join(tmpdir(), 'transfer-'));

test('what is written at an address is in the file, and is read back to another', () => {
  const path = join(directory, 'file');
  const fd = openSync(path, 'w+');
  bytes.set(Buffer.from('a frame'), 100);
  assert.is(write(fd, memory.address + 100, 7), 7);
  assert.is(readFileSync(path, 'utf8'), 'a frame');
  closeSync(fd);
  const again = openSync(path, 'r');
  assert.is(read(again, memory.address + 200, 1000), 7);
  assert.is(Buffer.from(bytes.subarray(200, 207)).toString(), 'a frame');
  assert.is(read(again, memory.address + 200, 1000), 0, 'the end of the file');
  closeSync(again);
});

test('a failed call returns -1 and sets errno', () => {
  const empty = eventfd(0, EFD_NONBLOCK);
  assert.is(read(empty, memory.address, 8), -1);
  assert.is(errno(), EAGAIN);
  closeSync(empty);
  assert.is(write(1_000_000, memory.address, 8), -1);
  assert.is(errno(), EBADF);
});

test.after(() => rmSync(directory, { recursive: true }));
test.run();
