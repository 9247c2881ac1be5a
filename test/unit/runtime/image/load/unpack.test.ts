/** Needs root: owners, whiteouts and attributes of overlayfs cannot be made without. */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Unpacked, unpackLayer } from '../../../../../src/runtime/image/load/unpack.ts';
import { type Entry, tar } from '../../../../lib/images/make-image.ts';
import { testUnless, whyNoRoot } from '../../../../lib/test-unless.ts';

interface Context {
  /** A directory with `layer`, and beside it what a layer must not reach. */
  directory: string;
}

const all = suite<Context>('unpacking layers');
const test = testUnless(whyNoRoot(), all);
all.before.each((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'dp-unpack-'));
  mkdirSync(join(context.directory, 'layer'));
  writeFileSync(join(context.directory, 'outside'), 'untouched');
});
all.after.each(({ directory }) => {
  assert.is(readFileSync(join(directory, 'outside'), 'utf8'), 'untouched');
  rmSync(directory, { recursive: true });
});

const MAX = 1 << 20;

async function unpack(directory: string, entries: Entry[], maxBytes = MAX, lower: string[] = []): Promise<Unpacked> {
  const bytes = await tar(entries);
  return unpackLayer(chunksOf(bytes, 1000), join(directory, 'layer'), lower, maxBytes);
}

/** In pieces that end anywhere. */
async function* chunksOf(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function refused(directory: string, entries: Entry[], message: RegExp, maxBytes = MAX): Promise<void> {
  let failure: Error | undefined;
  await unpack(directory, entries, maxBytes).catch((error: Error) => {
    failure = error;
  });
  assert.match(failure?.message ?? 'it was unpacked', message);
}

test('files keep content, owner, mode with setuid, and time; directories too', async ({ directory }) => {
  const mtime = new Date(1_000_000_000_000);
  const own = { uid: 1000, gid: 1001, mtime };
  const { bytes, devices } = await unpack(directory, [
    { name: 'd/', type: 'directory', mode: 0o2750, ...own },
    { name: 'd/f', content: 'text', ...own, mode: 0o4755 },
    { name: './d/empty', ...own, mode: 0o600 },
    { name: 'p', type: 'fifo', ...own, mode: 0o644 },
    { name: 'exact', content: '1', pax: { mtime: '1000000000.5', uid: '4000000', gid: '5000000' } },
  ]);
  assert.equal({ bytes, devices }, { bytes: 5, devices: 0 });
  const layer = join(directory, 'layer');
  for (const [name, mode] of Object.entries({ d: 0o2750, 'd/f': 0o4755, 'd/empty': 0o600, p: 0o644 })) {
    const stat = lstatSync(join(layer, name));
    assert.equal([stat.mode & 0o7777, stat.uid, stat.gid, stat.mtimeMs], [mode, 1000, 1001, mtime.getTime()], name);
  }
  assert.is(readFileSync(join(layer, 'd/f'), 'utf8'), 'text');
  assert.ok(lstatSync(join(layer, 'p')).isFIFO());
  const exact = lstatSync(join(layer, 'exact'));
  assert.equal([exact.mtimeMs, exact.uid, exact.gid], [1_000_000_000_500, 4_000_000, 5_000_000]);
});

test('links: symbolic ones keep their text wherever they point, hard ones are the same file', async ({ directory }) => {
  await unpack(directory, [
    { name: 'bin/sh', content: 'shell' },
    { name: 'sh', type: 'symlink', linkname: '/bin/sh' },
    { name: 'up', type: 'symlink', linkname: '../../../etc/passwd' },
    { name: 'same', type: 'link', linkname: 'bin/sh' },
  ]);
  const layer = join(directory, 'layer');
  assert.is(readlinkSync(join(layer, 'sh')), '/bin/sh');
  assert.is(readlinkSync(join(layer, 'up')), '../../../etc/passwd');
  assert.is(statSync(join(layer, 'same')).ino, statSync(join(layer, 'bin/sh')).ino);
});

test('a name with .. is refused, of an entry, a hard link and a whiteout; an absolute name is one of the layer', async ({
  directory,
}) => {
  await refused(directory, [{ name: '../outside', content: 'x' }], /"..\/outside" leads out of the layer/);
  await refused(directory, [{ name: 'a/../../outside', content: 'x' }], /leads out of the layer/);
  await refused(directory, [{ name: 'l', type: 'link', linkname: '../outside' }], /leads out of the layer/);
  await refused(directory, [{ name: 'a/.wh...', content: '' }], /leads out of the layer/);
  await unpack(directory, [{ name: '/etc/inside', content: 'x' }]);
  assert.ok(existsSync(join(directory, 'layer/etc/inside')));
});

test('a symbolic link to a directory of the host leads to one of the layer', async ({ directory }) => {
  await unpack(directory, [
    { name: 'abs', type: 'symlink', linkname: directory },
    { name: 'abs/outside', content: 'through an absolute link' },
    { name: 'rel', type: 'symlink', linkname: '../../..' },
    { name: `rel${directory}/outside`, content: 'through ..' },
    { name: 'a/b/', type: 'directory' },
    { name: 'a/b/x', content: '1' },
    // The directory on the way becomes a link after it has been used.
    { name: 'a/b', type: 'symlink', linkname: directory },
    { name: 'a/b/outside', content: 'through a replaced directory' },
    { name: 'hard', type: 'link', linkname: 'abs/outside' },
  ]);
  const inside = join(directory, 'layer', directory, 'outside');
  assert.is(readFileSync(inside, 'utf8'), 'through a replaced directory');
  assert.is(statSync(join(directory, 'layer/hard')).ino, statSync(inside).ino);
});

test('a file over a symbolic link replaces the link', async ({ directory }) => {
  await unpack(directory, [
    { name: 'f', type: 'symlink', linkname: join(directory, 'outside') },
    { name: 'f', content: 'own' },
    { name: 'd', type: 'symlink', linkname: directory },
    { name: 'd/', type: 'directory', mode: 0o700 },
  ]);
  assert.is(readFileSync(join(directory, 'layer/f'), 'utf8'), 'own');
  assert.ok(lstatSync(join(directory, 'layer/d')).isDirectory());
});

test('links in a circle, and paths without end, are refused', async ({ directory }) => {
  const circle: Entry[] = [
    { name: 'a', type: 'symlink', linkname: 'b' },
    { name: 'b', type: 'symlink', linkname: 'a' },
  ];
  await refused(directory, [...circle, { name: 'a/x', content: '' }], /too many symbolic links/);
  await refused(directory, [{ name: `${'d/'.repeat(300)}x`, content: '' }], /more than 256 directories deep/);
});

test('device nodes are left out and counted; a hard link to one is refused', async ({ directory }) => {
  const nodes: Entry[] = [
    { name: 'dev/sda', type: 'block-device', devmajor: 8, devminor: 0 },
    { name: 'dev/mem', type: 'character-device', devmajor: 1, devminor: 1 },
    // What overlayfs takes for a whiteout.
    { name: 'gone', type: 'character-device', devmajor: 0, devminor: 0 },
  ];
  assert.equal(await unpack(directory, nodes), { bytes: 0, devices: 3 });
  assert.not(existsSync(join(directory, 'layer/dev/sda')));
  assert.not(existsSync(join(directory, 'layer/gone')));
  await refused(directory, [...nodes, { name: 'l', type: 'link', linkname: 'gone' }], /not in this layer/);
});

test('whiteouts hide files of the layers below, an opaque directory all of them, and none of the own', async ({
  directory,
}) => {
  const layer = join(directory, 'layer');
  await unpack(directory, [
    { name: 'd/.wh.gone' },
    { name: 'opaque/.wh..wh..opq' },
    { name: 'opaque/own', content: '1' },
    { name: '.wh.replaced' },
    { name: 'replaced/', type: 'directory' },
    { name: 'replaced/own', content: '1' },
    { name: 'later/own', content: '1' },
    { name: '.wh.later' },
    { name: '.wh.file' },
    { name: 'file', content: 'new' },
    { name: '.wh..wh.plnk', content: '' },
  ]);
  const lower = join(directory, 'lower');
  for (const name of ['d/gone', 'd/kept', 'opaque/old', 'replaced/old', 'later/old']) {
    mkdirSync(join(lower, name, '..'), { recursive: true });
    writeFileSync(join(lower, name), '');
  }
  writeFileSync(join(lower, 'file'), 'old');
  const merged = join(directory, 'merged');
  mkdirSync(merged);
  const script = `mount -t overlay overlay -o lowerdir=${layer}:${lower} ${merged}; cd ${merged}; find . -type f | sort; cat file`;
  const found = execFileSync('unshare', ['--mount', 'sh', '-ec', script], { encoding: 'utf8' });
  assert.is(found, './d/kept\n./file\n./later/own\n./opaque/own\n./replaced/own\nnew');
});

test('a directory that the layer does not name has the owner and mode it has below', async ({ directory }) => {
  const lower = join(directory, 'lower');
  mkdirSync(join(lower, 'home/web'), { recursive: true });
  execFileSync('sh', ['-c', `chown 1000:1001 ${lower}/home/web; chmod 2700 ${lower}/home/web`]);
  await unpack(directory, [{ name: 'home/web/file', content: '1' }], MAX, [lower]);
  const stat = statSync(join(directory, 'layer/home/web'));
  assert.equal([stat.mode & 0o7777, stat.uid, stat.gid], [0o2700, 1000, 1001]);
});

test('attributes: of users and file capabilities are kept, those of overlayfs are not', async ({ directory }) => {
  const capability = '\u0001\0\0\u0002\0\u0004\0\0\0\0\0\0\0\0\0\0\0\0\0\0';
  await unpack(directory, [
    {
      name: 'f',
      content: '1',
      pax: {
        'SCHILY.xattr.security.capability': capability,
        'SCHILY.xattr.trusted.overlay.redirect': '/etc',
        'SCHILY.xattr.trusted.overlay.opaque': 'y',
      },
    },
  ]);
  const path = join(directory, 'layer/f');
  const read = `import os,sys; print(sorted(a for a in os.listxattr(sys.argv[1])), os.getxattr(sys.argv[1], "security.capability").hex())`;
  const found = execFileSync('python3', ['-c', read, path], { encoding: 'utf8' });
  assert.is(found, `['security.capability'] ${Buffer.from(capability).toString('hex')}\n`);
});

test('more bytes than allowed are refused before they are written', async ({ directory }) => {
  const half = Buffer.alloc(600_000);
  await refused(
    directory,
    [
      { name: 'a', content: half },
      { name: 'b', content: half },
    ],
    /larger than 1048576 bytes/,
  );
  assert.not(existsSync(join(directory, 'layer/b')));
});

test('an archive that ends too early, or is none, is refused', async ({ directory }) => {
  const whole = await tar([{ name: 'f', content: 'x'.repeat(5000) }]);
  const target = join(directory, 'layer');
  for (const bytes of [whole.subarray(0, 2000), whole.subarray(0, 300), Buffer.from('no tar at all'.repeat(100))]) {
    let failure = '';
    await unpackLayer(chunksOf(bytes, 700), target, [], MAX).catch((error: Error) => {
      failure = error.message;
    });
    assert.match(failure, /Unexpected end of data|Invalid tar header/, `${bytes.length} bytes`);
  }
});

all.run();
