/**
 * Unpacks one layer, a tar of changes (OCI image-spec, layer.md), as overlayfs expects a lower directory: `.wh.NAME`
 * becomes a whiteout, `.wh..wh..opq` an attribute of its directory (overlayfs.rst).
 *
 * Owners, modes (setuid too), times, hard links and extended attributes are kept. Device nodes are left out: a container
 * could not open them. tar-stream parses the archive; the host's tar would do all of this except whiteouts, but follows
 * its own rules about links and names, and cannot be limited.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeOpaque, makePipe, makeWhiteout, setAttribute } from '../../../linux/special-files.ts';
import { LayerDirectory, partsOf, stat } from './layer-directory.ts';
import { type TarEntry, tarEntries } from './tar-entries.ts';

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
const MAX_ENTRIES = 2_000_000;
const MAX_ID = 0xffff_fffe;
const XATTR = 'SCHILY.xattr.';
/** Not trusted.*: the layer could redirect overlayfs to other directories. */
const ATTRIBUTES = /^(user\..+|security\.capability)$/;

export interface Unpacked {
  bytes: number;
  /** Device nodes that were left out. */
  devices: number;
}

interface Attributes {
  uid: number;
  gid: number;
  mode: number;
  mtime: Date;
  xattrs: [string, string][];
}

/**
 * @param tar uncompressed
 * @param target an empty directory
 * @param lower directories of the layers below, the uppermost first
 * @param maxBytes of all files together
 * @throws Error that names the entry
 */
export async function unpackLayer(
  tar: AsyncIterable<Buffer>,
  target: string,
  lower: readonly string[],
  maxBytes: number,
): Promise<Unpacked> {
  const layer = new Unpacking(new LayerDirectory(target, lower), maxBytes);
  for await (const entry of tarEntries(tar)) {
    try {
      await layer.add(entry);
    } catch (error) {
      throw new Error(`${entry.name}: ${(error as Error).message}`);
    }
  }
  layer.finish();
  return layer.done;
}

class Unpacking {
  readonly done: Unpacked = { bytes: 0, devices: 0 };
  private readonly layer: LayerDirectory;
  private readonly maxBytes: number;
  private entries = 0;
  /** Set at the end: creating a file in a directory changes it. */
  private readonly times = new Map<string, Date>();

  constructor(layer: LayerDirectory, maxBytes: number) {
    this.layer = layer;
    this.maxBytes = maxBytes;
  }

  async add(entry: TarEntry): Promise<void> {
    if (++this.entries > MAX_ENTRIES) throw new Error(`more than ${MAX_ENTRIES} files in one layer`);
    const { parent, base, path } = this.layer.place(entry.name);
    if (base.startsWith(WHITEOUT)) return this.whiteOut(parent, base);
    const attributes = attributesOf(entry);
    switch (entry.type) {
      case 'directory':
        return this.directory(path, attributes);
      case 'file':
      case 'contiguous-file':
        return this.file(path, entry, attributes);
      case 'link':
        return this.link(path, entry.linkname);
      case 'symlink':
        this.layer.clear(path);
        symlinkSync(entry.linkname, path);
        break;
      case 'fifo':
        this.layer.clear(path);
        makePipe(path, 0o600);
        chmodSync(path, attributes.mode);
        break;
      case 'character-device':
      case 'block-device':
        this.done.devices++;
        return;
      default:
        throw new Error('an entry of a kind that layers do not have');
    }
    lchownSync(path, attributes.uid, attributes.gid);
    this.setAttributes(path, attributes);
    lutimesSync(path, attributes.mtime, attributes.mtime);
  }

  finish(): void {
    for (const [path, time] of this.times) if (stat(path)?.isDirectory()) lutimesSync(path, time, time);
  }

  private directory(path: string, attributes: Attributes): void {
    const found = stat(path);
    if (found !== undefined && !found.isDirectory()) {
      const replaces = found.isCharacterDevice();
      this.layer.clear(path);
      mkdirSync(path, { mode: 0o700 });
      // Whiteout first, then a directory of the same name: nothing of the one below is to be seen.
      if (replaces) makeOpaque(path);
    } else if (found === undefined) mkdirSync(path, { mode: 0o700 });
    lchownSync(path, attributes.uid, attributes.gid);
    chmodSync(path, attributes.mode);
    this.setAttributes(path, attributes);
    this.times.set(path, attributes.mtime);
  }

  private async file(path: string, entry: TarEntry, attributes: Attributes): Promise<void> {
    this.done.bytes += entry.size;
    if (this.done.bytes > this.maxBytes)
      throw new Error(`the image is larger than ${this.maxBytes} bytes (--max-size)`);
    this.layer.clear(path);
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const fd = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      for await (const chunk of entry.content) for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
      fchownSync(fd, attributes.uid, attributes.gid);
      fchmodSync(fd, attributes.mode);
      futimesSync(fd, attributes.mtime, attributes.mtime);
    } finally {
      closeSync(fd);
    }
    this.setAttributes(path, attributes);
  }

  private link(path: string, linkName: string): void {
    const { path: source } = this.layer.place(linkName);
    const found = stat(source);
    if (found === undefined) throw new Error(`a hard link to ${linkName}, which is not in this layer`);
    if (found.isDirectory() || found.isCharacterDevice())
      throw new Error(`a hard link to ${linkName}, which is no file`);
    if (source === path) return;
    this.layer.clear(path);
    linkSync(source, path);
  }

  private whiteOut(parent: string, base: string): void {
    if (base === OPAQUE) {
      makeOpaque(parent);
      return;
    }
    if (base.startsWith(`${WHITEOUT}${WHITEOUT}`)) return; // Other files of AUFS, without a meaning here.
    const [name, ...more] = partsOf(base.slice(WHITEOUT.length));
    if (name === undefined || more.length > 0) throw new Error('a whiteout of nothing');
    const path = join(parent, name);
    const found = stat(path);
    // It is about the layers below, never about its own.
    if (found === undefined) makeWhiteout(path);
    else if (found.isDirectory()) makeOpaque(path);
  }

  private setAttributes(path: string, { xattrs }: Attributes): void {
    for (const [name, value] of xattrs) setAttribute(path, name, Buffer.from(value));
  }
}

/** Large ids and exact times are in the extended header (pax(1)), which tar-stream hands on as it is. */
function attributesOf({ uid, gid, mode, mtime, pax }: TarEntry): Attributes {
  const seconds = pax.mtime === undefined ? mtime.getTime() / 1000 : Number(pax.mtime);
  const owner = Number(pax.uid ?? uid);
  const group = Number(pax.gid ?? gid);
  if (![owner, group].every((id) => Number.isInteger(id) && id >= 0 && id <= MAX_ID))
    throw new Error('its owner is no id');
  if (Object.keys(pax).some((key) => key.startsWith('GNU.sparse.'))) throw new Error('a sparse file');
  return {
    uid: owner,
    gid: group,
    mode: mode & 0o7777,
    mtime: new Date(Number.isFinite(seconds) ? seconds * 1000 : 0),
    xattrs: Object.entries(pax)
      .map(([key, value]): [string, string] => [key.startsWith(XATTR) ? key.slice(XATTR.length) : '', value])
      // tar-stream reads values as UTF-8: one that is not would be changed.
      .filter(([name, value]) => ATTRIBUTES.test(name) && !value.includes('\ufffd')),
  };
}
