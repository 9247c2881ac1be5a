/**
 * The root of a container that runs an image: an overlay of the image's layers, with changes in a tmpfs that disappears
 * with the mount namespace, and the file systems and files that every container has.
 *
 * The image is not trusted: its directories may be symbolic links to anywhere. So whatever is taken from the host is
 * opened while the host's root is still the root, and everything is attached when the container's root is the only one.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { chdir } from 'node:process';
import {
  attachTree,
  changeRoot,
  changeTree,
  cloneTree,
  MountFlag,
  makeRootReadOnly,
  mount,
} from '../../linux/mounts.ts';
import type { LaunchSpec, TreeMount } from './spec.ts';

const { RDONLY, NOSUID, NODEV, NOEXEC } = MountFlag;
const DEVICE_LINKS = {
  fd: '/proc/self/fd',
  stdin: '/proc/self/fd/0',
  stdout: '/proc/self/fd/1',
  stderr: '/proc/self/fd/2',
};
const TMPFS = 'mode=0755,size=65536k';

/**
 * Build it, make it the root of this mount namespace, and detach the host's.
 * @param top an empty directory
 * @throws Error
 */
export function enterRoot(top: string, spec: LaunchSpec): void {
  mountLayers(top, spec);
  const devices = spec.devices.map((path) => ({ path, tree: cloneTree(path) }));
  const hidden = spec.hiddenFiles.map((path) => ({ path, tree: cloneTree('/dev/null') }));
  const terminals = spec.tty ? cloneTree('/dev/pts') : undefined;
  const volumes = spec.mounts.map((volume) => ({ volume, tree: openVolume(volume) }));
  changeRoot(join(top, 'root'));

  mountKernelFiles(spec.readOnly);
  mountDevices(terminals);
  for (const { path, tree } of devices) {
    closeSync(openSync(path, 'wx'));
    attach(tree, path);
  }
  for (const { path, tree } of hidden) attach(tree, path);
  for (const path of spec.hiddenDirectories) mount('tmpfs', path, RDONLY | NOSUID | NODEV | NOEXEC, 'size=4k');
  writeFiles(spec.files);
  for (const { volume, tree } of volumes) {
    makeTarget(volume);
    attach(tree, volume.target);
  }
  mkdirSync(spec.workingDir, { recursive: true, mode: 0o755 });
  if (spec.readOnlyRoot) makeRootReadOnly();
}

function mountLayers(top: string, { store, layers }: LaunchSpec): void {
  mount('tmpfs', top, NODEV, 'mode=0755');
  for (const name of ['root', 'upper', 'work']) mkdirSync(join(top, name), { mode: 0o755 });
  // The upper directory's owner and mode are those of the container's root.
  const own = statSync(join(store, layers[0]!));
  chmodSync(join(top, 'upper'), own.mode & 0o7777);
  chownSync(join(top, 'upper'), own.uid, own.gid);
  // Names relative to the store: the option may have one page (mount(2)).
  chdir(store);
  // nodev: no device node of a layer, or created in the container, can be opened (CVE-2016-9962).
  const upper = `upperdir=${top}/upper,workdir=${top}/work`;
  mount('overlay', join(top, 'root'), NODEV, `lowerdir=${layers.join(':')},${upper}`);
}

function openVolume({ source, readOnly, executable }: TreeMount): number {
  const tree = cloneTree(source);
  changeTree(tree, NODEV | (readOnly ? RDONLY : 0), executable ? NOEXEC : 0);
  return tree;
}

function mountKernelFiles(readOnly: readonly string[]): void {
  makeMountPoint('/proc');
  mount('proc', '/proc', NOSUID | NODEV | NOEXEC);
  for (const path of readOnly) {
    const tree = cloneTree(path);
    changeTree(tree, RDONLY, 0);
    attach(tree, path);
  }
  makeMountPoint('/sys');
  mount('sysfs', '/sys', RDONLY | NOSUID | NODEV | NOEXEC);
}

/** @param terminals a devpts that is there already */
function mountDevices(terminals: number | undefined): void {
  makeMountPoint('/dev');
  // nodev: nothing created in it is a device; the host's devices that a container has are mounted one by one.
  mount('tmpfs', '/dev', NOSUID | NODEV, TMPFS);
  mkdirSync('/dev/pts');
  if (terminals === undefined)
    mount('devpts', '/dev/pts', NOSUID | NOEXEC, 'newinstance,ptmxmode=0666,mode=0620,gid=5');
  else attach(terminals, '/dev/pts');
  symlinkSync('pts/ptmx', '/dev/ptmx');
  mkdirSync('/dev/shm');
  mount('tmpfs', '/dev/shm', NOSUID | NODEV | NOEXEC, 'mode=1777,size=65536k');
  for (const [name, target] of Object.entries(DEVICE_LINKS)) symlinkSync(target, `/dev/${name}`);
}

/** @throws Error if the image has something else there: a link would put the mount in another place */
function makeMountPoint(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o755 });
  if (!lstatSync(path).isDirectory()) throw new Error(`${path} of the image is not a directory`);
}

function writeFiles(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    // An image may have a link here (/etc/resolv.conf): it is replaced, not followed.
    rmSync(path, { recursive: true, force: true });
    writeFileSync(path, text, { mode: 0o644 });
  }
}

function makeTarget({ target, file }: TreeMount): void {
  mkdirSync(file ? posix.dirname(target) : target, { recursive: true, mode: 0o755 });
  if (file) closeSync(openSync(target, 'a', 0o644));
}

function attach(tree: number, target: string): void {
  attachTree(tree, target);
  closeSync(tree);
}
