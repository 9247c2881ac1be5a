/**
 * Images built by the usual programs, without a registry: what they write is read by others' code and by ours. The
 * programs are named by environment variables (UMOCI, BUILDAH), because a machine need not have them.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { writeFiles } from './make-image.ts';

export interface Recipe {
  name: string;
  /** Path in the image → content; programs among them are executable. */
  files: ReadonlyMap<string, Buffer>;
  /** Directories of the host to copy: path in the image → directory. */
  trees?: Readonly<Record<string, string>>;
  directories?: readonly string[];
  command: readonly string[];
  user?: string;
}

const run = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function writeRoot(root: string, { files, trees = {}, directories = [] }: Recipe): void {
  mkdirSync(root, { recursive: true });
  writeFiles(root, files);
  for (const path of directories) mkdirSync(join(root, path), { recursive: true });
  for (const [path, source] of Object.entries(trees)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    run('cp', '-a', source, join(root, path));
  }
  run('chmod', '-R', 'a+rX', root);
  // The loader of shared libraries is executed too.
  run(
    'find',
    root,
    '-type',
    'f',
    '(',
    '-path',
    '*bin/*',
    '-o',
    '-name',
    '*.so*',
    ')',
    '-exec',
    'chmod',
    '755',
    '{}',
    '+',
  );
}

/** @returns the directory of an OCI layout */
export function buildWithUmoci(umoci: string, work: string, recipe: Recipe): string {
  const layout = join(work, `${recipe.name}-layout`);
  const bundle = join(work, `${recipe.name}-bundle`);
  const image = `${layout}:${recipe.name}`;
  run(umoci, 'init', '--layout', layout);
  run(umoci, 'new', '--image', image);
  run(umoci, 'unpack', '--image', image, bundle);
  writeRoot(join(bundle, 'rootfs'), recipe);
  run(umoci, 'repack', '--image', image, bundle);
  const command = recipe.command.flatMap((word) => ['--config.cmd', word]);
  run(umoci, 'config', '--image', image, ...command, ...(recipe.user ? ['--config.user', recipe.user] : []));
  rmSync(bundle, { recursive: true });
  return layout;
}

/** @returns an OCI archive */
export function buildWithBuildah(buildah: string, work: string, recipe: Recipe): string {
  const root = join(work, `${recipe.name}-root`);
  const archive = join(work, `${recipe.name}.tar`);
  const storage = ['--storage-driver', 'vfs', '--root', join(work, 'storage'), '--runroot', join(work, 'run')];
  const call = (...args: string[]): string => run(buildah, ...storage, ...args).trim();
  writeRoot(root, recipe);
  const container = call('from', 'scratch');
  call('copy', '--quiet', container, root, '/');
  call('config', '--cmd', JSON.stringify(recipe.command), ...(recipe.user ? ['--user', recipe.user] : []), container);
  call('commit', '--quiet', container, `oci-archive:${archive}:${recipe.name}`);
  call('rm', container);
  rmSync(root, { recursive: true });
  return archive;
}
