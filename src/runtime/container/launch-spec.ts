/** What the launcher has to know of a plan (src/runtime/launcher). */
import type { LaunchSpec } from '../launcher/spec.ts';
import { HIDDEN_DIRECTORIES } from './hidden-directories.ts';
import type { LaunchPlan } from './launch-script.ts';

/** Made by whatever starts a container; of the host's devices only nodes are taken. */
const STANDARD_LINKS = new Set(['/dev/fd', '/dev/stdin', '/dev/stdout', '/dev/stderr']);

/** @throws Error if the plan has no image */
export function launchSpec(plan: LaunchPlan): LaunchSpec {
  const { root } = plan;
  if (root === undefined) throw new Error('the plan has no image');
  return {
    store: root.store,
    layers: root.layers,
    devices: plan.devices.filter((path) => !STANDARD_LINKS.has(path)),
    hiddenFiles: plan.hidden,
    hiddenDirectories: HIDDEN_DIRECTORIES,
    readOnly: plan.readOnly,
    files: root.files,
    mounts: plan.mounts.map(({ source, target, readOnly, file }) => ({
      ...{ source, target, readOnly, file },
      executable: plan.makeExecutable !== undefined && source.startsWith(`${plan.makeExecutable}/`),
    })),
    workingDir: plan.workingDir,
    environment: [...plan.environment].map(([name, value]) => `${name}=${value}`),
    imageUser: root.user,
    privileges: plan.privileges,
    readOnlyRoot: plan.readOnlyRoot,
    command: plan.command,
    oomScore: plan.oomScore,
    groups: plan.groups,
    tty: plan.tty === true,
  };
}
