/**
 * A copy of Node and of the CNI plugin in the folder for plugins, for an agent in a container: runtimes start the plugin on the
 * machine, which has neither the container's files nor, perhaps, the libraries of its Node. The copy outlives the container, so
 * that the plugin can report that there is no agent.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** Beside the plugins; runtimes start only what a configuration names. */
const FOLDER = '.dataplane';
/** Copies that stay: one that a plugin is being started from may just have been replaced. */
const KEPT = 2;

/** The folder of the copies. */
export const copiesIn = (programs: string): string => join(programs, FOLDER);

/**
 * Copy what the plugin needs, unless that is there already, and remove older copies.
 * @param programs the folder for plugins; its path is the same on the machine and in the container
 * @param plugin the file that Node is started with
 * @returns the command that starts the copy
 * @throws Error of the file system
 */
export function copyProgram(programs: string, plugin: string): string[] {
  const bundle = dirname(dirname(plugin));
  const folders = [dirname(plugin), join(bundle, 'start')];
  const copies = copiesIn(programs);
  const directory = join(copies, versionOf(folders));
  if (!existsSync(directory)) {
    const fresh = `${directory}.new`;
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(join(fresh, 'lib'), { recursive: true });
    for (const folder of folders) cpSync(folder, join(fresh, basename(folder)), { recursive: true });
    for (const library of loadedLibraries()) copyLibrary(library, join(fresh, 'lib'));
    cpSync(process.execPath, join(fresh, 'node'), { dereference: true });
    renameSync(fresh, directory);
  }
  removeOlder(copies, directory);
  const lib = join(directory, 'lib');
  const loader = readdirSync(lib).find((name) => name.startsWith('ld-'));
  const node = [join(directory, 'node'), join(directory, basename(dirname(plugin)), basename(plugin))];
  // A program without a loader contains its libraries.
  return loader === undefined ? node : [join(lib, loader), '--library-path', lib, ...node];
}

/**
 * A program asks for a library by its name with the major version (its soname, `libstdc++.so.6`), which is a link to a file with
 * all of it (`libstdc++.so.6.0.30`).
 */
function copyLibrary(file: string, to: string): void {
  const name = basename(file);
  cpSync(file, join(to, name), { dereference: true });
  for (let link = name; /\.so\..*\.\d+$/.test(link); ) {
    link = link.replace(/\.\d+$/, '');
    symlinkSync(name, join(to, link));
  }
}

/** Differs between builds, and between versions of Node. */
function versionOf(folders: readonly string[]): string {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}`);
  for (const folder of folders) {
    for (const name of readdirSync(folder).sort()) hash.update(readFileSync(join(folder, name)));
  }
  return hash.digest('hex').slice(0, 16);
}

/** The shared libraries that this process has loaded, and their loader (linux fs/proc/task_mmu.c: path in the last column). */
function loadedLibraries(): Set<string> {
  const paths = readFileSync('/proc/self/maps', 'utf8').matchAll(/ (\/\S+\.so(?:\.\S+)?)$/gm);
  return new Set([...paths].map(([, path]) => path as string));
}

function removeOlder(copies: string, current: string): void {
  const others = readdirSync(copies)
    .map((name) => join(copies, name))
    .filter((path) => path !== current)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const path of others.slice(KEPT - 1)) rmSync(path, { recursive: true, force: true });
}
