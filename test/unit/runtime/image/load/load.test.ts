/** Needs root, as unpack.test.ts does. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type LoadResult, loadImages } from '../../../../../src/runtime/image/load/load.ts';
import { ImageStore } from '../../../../../src/runtime/image/store/store.ts';
import {
  configOf,
  dockerArchive,
  type ImageParts,
  ociFiles,
  sha256,
  tar,
  writeFiles,
} from '../../../../lib/images/make-image.ts';
import { testUnless, whyNoRoot } from '../../../../lib/test-unless.ts';

interface Context {
  directory: string;
  store: ImageStore;
  load(content: Buffer | Map<string, Buffer>, ...names: string[]): Promise<LoadResult>;
}

const all = suite<Context>('loading images');
const test = testUnless(whyNoRoot(), all);
all.before.each((context) => {
  const directory = mkdtempSync(join(tmpdir(), 'dp-load-'));
  const store = new ImageStore(join(directory, 'store'));
  let archives = 0;
  Object.assign(context, {
    directory,
    store,
    load: (content: Buffer | Map<string, Buffer>, ...names: string[]) => {
      const path = join(directory, `archive${++archives}`);
      if (content instanceof Map) writeFiles(path, content);
      else writeFileSync(path, content);
      return loadImages(path, { store, names, maxBytes: 1 << 24, onProgress: () => {} });
    },
  });
});
all.after.each(({ directory }) => rmSync(directory, { recursive: true }));

const base = await tar([{ name: 'base', content: 'base' }]);
const app = await tar([{ name: 'app', content: 'app' }]);
const other = await tar([{ name: 'other', content: 'other' }]);
const shop: ImageParts = {
  layers: [base, app],
  names: ['example.com/shop:1'],
  config: { Cmd: ['/app'], Env: ['A=b=c'], User: 'web', WorkingDir: '/', StopSignal: 'SIGQUIT', Entrypoint: null },
};

/** Every file of the store, with what the index names. */
const layersOn = (store: ImageStore): string[] => readdirSync(store.layers).sort();

async function refused(loading: Promise<LoadResult>, message: RegExp, store: ImageStore): Promise<void> {
  let failure = 'it was loaded';
  await loading.catch((error: Error) => {
    failure = error.message;
  });
  assert.match(failure, message);
  assert.equal(store.list(), []);
  assert.equal(readdirSync(store.incoming), []);
}

test('docker-archive, OCI layout as a directory, as a tar, and compressed, are the same image', async ({
  load,
  store,
}) => {
  const oci = ociFiles(shop);
  const ociTar = await tar([...oci].map(([name, content]) => ({ name, content })));
  const archives = [await dockerArchive([shop]), oci, ociTar, gzipSync(await dockerArchive([shop]))];
  const zstd = spawnSync('zstd', ['-c'], { input: ociTar });
  if (zstd.status === 0) archives.push(zstd.stdout);
  for (const archive of archives) {
    const { images } = await load(archive);
    assert.is(images.length, 1);
    assert.is(images[0]!.id, `sha256:${sha256(configOf(shop))}`);
  }
  const [image, ...more] = store.list();
  assert.equal(more, []);
  assert.equal(image!.names, ['example.com/shop:1']);
  assert.is(image!.digests.length, 1);
  assert.is(image!.bytes, 7);
  assert.equal(image!.config, {
    ...{ entrypoint: [], cmd: ['/app'], env: ['A=b=c'], workingDir: '/', user: 'web', stopSignal: 'SIGQUIT' },
  });
  assert.is(readFileSync(join(store.layers, image!.layers[0]!, 'base'), 'utf8'), 'base');
  assert.is(readFileSync(join(store.layers, image!.layers[1]!, 'app'), 'utf8'), 'app');
});

test('only root can look into the store', async ({ load, store }) => {
  await load(await dockerArchive([shop]));
  assert.is(statSync(store.directory).mode & 0o777, 0o700);
});

test('layers are unpacked once and shared; the last image that has one takes it along', async ({ load, store }) => {
  await load(await dockerArchive([shop, { ...shop, layers: [base, other], names: ['example.com/other:1'] }]));
  assert.is(layersOn(store).length, 3);
  const inode = statSync(join(store.layers, store.list()[0]!.layers[0]!, 'base')).ino;
  await load(await dockerArchive([{ ...shop, layers: [base, app, other], names: ['example.com/third:1'] }]));
  assert.is(layersOn(store).length, 4);
  assert.is(statSync(join(store.layers, store.list()[2]!.layers[0]!, 'base')).ino, inode);
  await store.exclusively(1000, async () =>
    store.replace(store.list().filter(({ names }) => names[0]!.includes('other'))),
  );
  assert.equal(layersOn(store), [...store.list()[0]!.layers].sort());
});

test('an archive without a name needs one, and one with several images takes none', async ({ load, store }) => {
  await refused(load(await dockerArchive([{ ...shop, names: [] }])), /has no name: give it one with --name/, store);
  const two = await dockerArchive([shop, { ...shop, layers: [other], names: ['b:1'] }]);
  await refused(load(two, 'c:1'), /--name is for an archive with one/, store);
  await refused(
    load(await dockerArchive([{ ...shop, names: ['No Name'] }])),
    /"No Name" is not a name of an image/,
    store,
  );
  await load(ociFiles({ ...shop, names: ['latest'] }), 'shop:2', 'quay.io/shop:2');
  assert.equal(store.list()[0]!.names, ['docker.io/library/shop:2', 'quay.io/shop:2']);
});

test('a wrong digest is refused: of a layer, of its content, of the configuration, of the manifest', async ({
  load,
  store,
}) => {
  const files = (change: (files: Map<string, Buffer>, blob: (bytes: Buffer) => string) => void) => {
    const all = ociFiles(shop);
    change(all, (bytes) => `blobs/sha256/${sha256(bytes)}`);
    return all;
  };
  const changed = await tar([{ name: 'app', content: 'evil' }]);
  await refused(
    load(files((all, blob) => all.set(blob(gzipSync(app)), gzipSync(changed)))),
    /layer blobs.*the digest of its content is sha256:/,
    store,
  );
  // The same content, compressed otherwise.
  const again = gzipSync(app, { level: 0 });
  await refused(load(files((all, blob) => all.set(blob(gzipSync(app)), again))), /the digest of its file is/, store);
  const config = Buffer.from(configOf(shop).toString().replace('web', 'bad'));
  await refused(load(files((all, blob) => all.set(blob(configOf(shop)), config))), /its digest is .*, expected/, store);
  const legacy = (await dockerArchive([shop])).toString('latin1').replace('"User":"web"', '"User":"bad"');
  await refused(load(Buffer.from(legacy, 'latin1')), /\.json: its digest is/, store);
  const index = files((all) => {
    const text = all.get('index.json')!.toString();
    const digest = /sha256:([0-9a-f]{64})/.exec(text)![1]!;
    all.set(`blobs/sha256/${digest}`, Buffer.concat([all.get(`blobs/sha256/${digest}`)!, Buffer.from(' ')]));
  });
  await refused(load(index), /its digest is/, store);
});

test('truncated archives and layers are refused', async ({ load, store }) => {
  const whole = await dockerArchive([shop]);
  for (const part of [0.1, 0.5, 0.7]) {
    await refused(load(whole.subarray(0, Math.floor(whole.length * part))), /./, store);
  }
  await refused(load(gzipSync(whole).subarray(0, -20)), /unexpected end of file/, store);
  const cut = ociFiles(shop);
  cut.set(`blobs/sha256/${sha256(gzipSync(app))}`, gzipSync(app).subarray(0, -10));
  await refused(load(cut), /unexpected end of file/, store);
});

test('a layer that decompresses to more than allowed is refused', async ({ load, store, directory }) => {
  const bomb = await tar([{ name: 'zeros', content: Buffer.alloc(1 << 25) }]);
  await refused(load(ociFiles({ ...shop, layers: [bomb] })), /larger than \d+ bytes \(--max-size\)/, store);
  await refused(load(gzipSync(Buffer.alloc(1 << 25))), /more than \d+ bytes \(--max-size\)/, store);
  assert.equal(readdirSync(join(directory, 'store/layers')), []);
});

test('what is not an archive is refused as such; another architecture and odd manifests are refused', async ({
  load,
  store,
}) => {
  await refused(load(Buffer.from('hello')), /Unexpected end of data|no image archive/, store);
  await refused(load(await tar([{ name: 'file', content: 'x' }])), /it is no image archive/, store);
  await refused(
    load(new Map([['index.json', Buffer.from('{"manifests": 5}')]])),
    /expected a list of manifests/,
    store,
  );
  await refused(
    load(new Map([['manifest.json', Buffer.from('[{"Config": "../../etc/passwd", "Layers": []}]')]])),
    /leads out of/,
    store,
  );
  const config = Buffer.from(JSON.stringify({ os: 'linux', architecture: 's390x', rootfs: { diff_ids: [] } }));
  const name = `${createHash('sha256').update(config).digest('hex')}.json`;
  const manifest = JSON.stringify([{ Config: name, RepoTags: ['a:1'], Layers: [] }]);
  await refused(
    load(
      new Map([
        ['manifest.json', Buffer.from(manifest)],
        [name, config],
      ]),
    ),
    /docker.io\/library\/a:1 is for linux\/s390x/,
    store,
  );
});

test('a load that is killed leaves nothing that counts, and the next one cleans up', async ({
  load,
  store,
  directory,
}) => {
  await load(await dockerArchive([shop]));
  const before = { images: store.list(), layers: layersOn(store) };
  const archive = join(directory, 'big');
  writeFileSync(
    archive,
    await dockerArchive([
      { ...shop, layers: [base, other, await tar([{ name: 'x', content: Buffer.alloc(1 << 23) }])], names: ['big:1'] },
    ]),
  );
  const script = `
    import { loadImages } from ${JSON.stringify(new URL('../../../../../src/runtime/image/load/load.js', import.meta.url).href)};
    import { ImageStore } from ${JSON.stringify(new URL('../../../../../src/runtime/image/store/store.js', import.meta.url).href)};
    let layers = 0;
    const onProgress = () => { if (++layers === 3) process.kill(process.pid, 'SIGKILL'); };
    await loadImages(${JSON.stringify(archive)}, { store: new ImageStore(${JSON.stringify(store.directory)}), names: [], maxBytes: 2 ** 30, onProgress });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' });
  const signal = await new Promise((resolve) => child.once('exit', (_, by) => resolve(by)));
  assert.is(signal, 'SIGKILL');
  assert.is(readdirSync(store.incoming).length, 1);
  assert.equal(new ImageStore(store.directory).list(), before.images);
  await load(await dockerArchive([shop]));
  assert.equal(readdirSync(store.incoming), []);
  assert.equal(layersOn(store), before.layers);
});

test('two loads at the same time both count', async ({ load, store }) => {
  const second = { ...shop, layers: [other], names: ['example.com/second:1'] };
  await Promise.all([load(await dockerArchive([shop])), load(await dockerArchive([second]))]);
  assert.equal(
    store
      .list()
      .flatMap(({ names }) => names)
      .sort(),
    ['example.com/second:1', 'example.com/shop:1'],
  );
});

test('layers that a container uses stay until it has ended', async ({ load, store, directory }) => {
  mkdirSync(join(directory, 'used'));
  await load(await dockerArchive([shop]));
  const layers = store.list()[0]!.layers;
  const script = `cd ${store.layers}; mount -t overlay overlay -o lowerdir=${[...layers].reverse().join(':')} ${directory}/used; echo mounted; exec sleep 1000`;
  const user = spawn('unshare', ['--mount', 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => user.stdout.once('data', resolve));
  const clear = () => store.exclusively(1000, async () => store.replace([]));
  await clear();
  assert.equal(store.list(), []);
  assert.ok(existsSync(join(store.layers, layers[0]!, 'base')));
  user.kill('SIGKILL');
  await new Promise((resolve) => user.once('exit', resolve));
  await clear();
  assert.equal(layersOn(store), []);
});

all.run();
