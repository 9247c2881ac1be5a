/** `dataplane image`: the images of this machine, which pods of any cluster on it can run. */
import type { StoredImage } from '../../runtime/image/store/index-file.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { wholeNumber } from '../args/values.ts';
import { CliError, failed, needRoot, usageError } from '../errors.ts';
import { formatOf, note, Progress, print } from '../output/output.ts';
import { tableText, terminalOf } from '../output/table.ts';

const GIB = 2 ** 30;
const LOCK_MS = 60_000;
const SHORT_ID = 12;

export const command: Command = {
  usage: [
    'image load FILE [--name NAME…] [--max-size GIB]',
    'image pull NAME…',
    'image list [-o json]',
    'image remove NAME…',
  ],
  about: `The images of this machine. A container whose \`image:\` names one runs it; other names are looked up in the catalogue of
programs of the host. Load takes an archive of \`docker save\`, \`podman save\`, skopeo, kaniko or buildah (docker-archive or OCI layout,
a tar or a directory, also compressed), checks every digest, and unpacks each layer once. Pull fetches an image by the skopeo, podman or
docker of this host. Images are in /var/lib/dataplane/images, or in DATAPLANE_IMAGES, and stay when a cluster is removed.`,
  options: {
    name: { value: 'NAME', multiple: true, help: "load: the image's name, instead of the archive's" },
    'max-size': { value: 'GIB', help: 'load: most that the files of one image may have together (default: 32)' },
    output: { short: 'o', value: 'FORMAT', help: 'list: json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane image load shop.tar',
    'dataplane image load --name shop:1.0 layout/',
    'dataplane image remove nginx:1.27',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  const verb = needOperand('image', args, 0, 'what to do');
  const act = { load, pull, list, remove }[verb];
  if (act === undefined) throw usageError(`dataplane image: there is no "${verb}"`, 'load, pull, list or remove');
  for (const [option, verbs] of Object.entries({ name: ['load'], 'max-size': ['load', 'pull'], output: ['list'] })) {
    if (args.has(option) && !verbs.includes(verb)) throw usageError(`dataplane image ${verb} has no --${option}`);
  }
  await act(args);
}

async function load(args: Args): Promise<void> {
  const file = needOperand('image load', args, 1, 'FILE');
  operandsAtMost('image load', args, 2);
  const options = { names: [...args.texts('name')], maxBytes: maxBytes(args) };
  needRoot('image load');
  await loadArchive(file, file, options);
}

async function pull(args: Args): Promise<void> {
  needOperand('image pull', args, 1, 'NAME');
  const names = args.operands.slice(1);
  needRoot('image pull');
  const { fetchImage, puller } = await import('../../runtime/image/pull.ts');
  const program = puller(process.env.PATH ?? '');
  if (program === undefined) {
    const advice = 'install one, or save the image elsewhere and `dataplane image load` it';
    throw failed('images are pulled by skopeo, podman or docker, and this host has none of them', advice);
  }
  for (const name of names) {
    note(`${program.name} fetches ${name}`);
    try {
      await fetchImage(program, name, (archive) =>
        loadArchive(archive, name, { names: [name], maxBytes: maxBytes(args) }),
      );
    } catch (error) {
      if (error instanceof CliError) throw error;
      throw failed(`image "${name}": ${(error as Error).message}`, 'nothing was changed');
    }
  }
}

async function loadArchive(file: string, shown: string, options: { names: string[]; maxBytes: number }): Promise<void> {
  const { loadImages } = await import('../../runtime/image/load/load.ts');
  const { ImageStore } = await import('../../runtime/image/store/store.ts');
  const { familiarName } = await import('../../runtime/image/reference.ts');
  const progress = new Progress();
  try {
    const onProgress = (text: string) => progress.show(text);
    const { images, devices } = await loadImages(file, { ...options, store: new ImageStore(), onProgress });
    progress.clear();
    for (const { names, bytes } of images) {
      print(`loaded ${names.map(familiarName).join(', ')} (${printSize(bytes)})`);
    }
    if (devices > 0) note(`${devices} device nodes were left out: a container has those of docs/images.md`);
  } catch (error) {
    progress.clear();
    throw failed(`${shown}: ${(error as Error).message}`, 'nothing was loaded');
  }
}

async function list(args: Args): Promise<void> {
  operandsAtMost('image list', args, 1);
  const format = formatOf(args.text('output'), ['json']);
  needRoot('image list');
  const { ImageStore } = await import('../../runtime/image/store/store.ts');
  const { familiarName } = await import('../../runtime/image/reference.ts');
  const images = new ImageStore().list();
  if (format === 'json') return print(JSON.stringify(images.map(asJson), null, 2));
  if (images.length === 0) return note('no image is loaded');
  const rows = images.flatMap(({ id, names, bytes, loadedAt }) =>
    names.map((name) => [familiarName(name), shortId(id), printSize(bytes), loadedAt.slice(0, 16).replace('T', ' ')]),
  );
  rows.sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  print(tableText([['NAME', 'IMAGE ID', 'SIZE', 'LOADED (UTC)'], ...rows], { headers: true, terminal: terminalOf() }));
}

async function remove(args: Args): Promise<void> {
  needOperand('image remove', args, 1, 'NAME');
  const wanted = args.operands.slice(1);
  needRoot('image remove');
  const { ImageStore } = await import('../../runtime/image/store/store.ts');
  const store = new ImageStore();
  await store.exclusively(LOCK_MS, async () => {
    const removed = wanted.map((name) => {
      const image = store.find(name);
      if (image === undefined) throw failed(`no image "${name}" is loaded`, 'see `dataplane image list`');
      return image.id;
    });
    // By ID: the image with all its names. By name: that name, and the image with its last one.
    const { withoutName } = await import('../../runtime/image/store/names.ts');
    store.replace(wanted.reduce<readonly StoredImage[]>(withoutName, store.list()));
    for (const [i, name] of wanted.entries()) print(`removed ${name} (${shortId(removed[i]!)})`);
  });
}

const maxBytes = (args: Args): number =>
  wholeNumber(1, 100_000, 'GiB')(args.text('max-size') ?? '32', '--max-size') * GIB;

const asJson = ({ id, names, digests, bytes, loadedAt, layers, config }: StoredImage) => ({
  ...{ id, names, digests, sizeBytes: bytes, loadedAt, layers: layers.length, config },
});

const shortId = (id: string): string => id.replace('sha256:', '').slice(0, SHORT_ID);

/** In decimal units, as docker and crictl print sizes. */
function printSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${units[power]}`;
}
