/**
 * A container of an image by an OCI runtime: the files in its directory. The keeper is the same as elsewhere, a shell that
 * waits and writes the exit status; between it and the container is the runtime, which leaves when the container ends
 * (`run` in the foreground). Hooks of the runtime write what the launcher writes otherwise: `pid` and `started`.
 *
 * The root is mounted by the keeper, in its own mount namespace, so that it is gone with the keeper.
 */
import { chmodSync, chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { makePipe } from '../../linux/special-files.ts';
import { ENVIRONMENT_FILE, type LaunchPlan, SCRIPT_FILE, terminalCommand } from '../container/launch-script.ts';
import { launchSpec } from '../container/launch-spec.ts';
import { joinCommands } from '../container/launcher-command.ts';
import { LayerTree } from '../image/layer-tree.ts';
import { accountOf, withHome } from '../launcher/account.ts';
import { ACCOUNT_FILE, type LaunchSpec, SPEC_FILE } from '../launcher/spec.ts';
import { otherJoinFilesOf } from '../pod/groups.ts';
import { quote } from '../shell.ts';
import { ociConfig } from './config.ts';
import type { OciRuntime } from './runtime.ts';

const MAX_ACCOUNTS_BYTES = 1 << 20;
/** The runtime's own records, and its messages. */
const STATE = 'oci';
export const OCI_LOG = 'oci.log';
/** A pipe from a hook to the agent: a runtime does not pass the keeper's descriptors on. */
export const READY = 'ready';
const CREATED = 'created.sh';
const STARTED = 'started.sh';

/**
 * The files of the container's directory, by name; also writes those that are put over the image's.
 * @throws Error if the image does not have the user
 */
export function ociFiles(plan: LaunchPlan, runtime: OciRuntime): Record<string, string> {
  const { directory, processesOf } = plan;
  // runc makes a group in every tree; crun makes none.
  const group = runtime.name === 'runc' ? plan.group : undefined;
  const others = group === undefined ? [] : otherJoinFilesOf(group);
  const spec = launchSpec({ ...plan, groups: [...plan.groups, ...others] });
  const tree = new LayerTree(spec.store, spec.layers);
  const read = (path: string): string => tree.readText(path, MAX_ACCOUNTS_BYTES);
  const account = accountOf({ ...spec.privileges, imageUser: spec.imageUser }, read('/etc/passwd'), read('/etc/group'));
  const environment = withHome(spec.environment, account);
  for (const name of [STATE, OCI_LOG, READY, 'upper']) rmSync(join(directory, name), { recursive: true, force: true });
  makePipe(join(directory, READY), 0o600);
  writeUpper(join(directory, 'upper'), tree, spec.files);
  const config = ociConfig({
    ...{ spec, processesOf, account, environment, root: join(directory, 'root/root') },
    hooks: { created: join(directory, CREATED), started: join(directory, STARTED) },
    cgroupsPath: group === undefined ? undefined : `/${group}`,
  });
  return {
    [SCRIPT_FILE]: keeperScript(plan, spec, runtime),
    'config.json': JSON.stringify(config),
    [CREATED]: createdScript(directory),
    [STARTED]: startedScript(directory),
    // For programs that are run in the container later.
    [SPEC_FILE]: JSON.stringify(spec),
    [ACCOUNT_FILE]: JSON.stringify(account),
    [ENVIRONMENT_FILE]: environment.map((entry) => `${entry}\0`).join(''),
  };
}

/** Upper directory of the overlay: files that replace the image's, whatever it has there, and the mode of its root. */
function writeUpper(upper: string, tree: LayerTree, files: Readonly<Record<string, string>>): void {
  const make = (directory: string): void => {
    const path = join(upper, directory);
    mkdirSync(path);
    const { stat } = tree.find(directory);
    // An upper directory's owner and mode are those that the container sees.
    chmodSync(path, stat?.isDirectory() ? stat.mode & 0o7777 : 0o755);
    if (stat?.isDirectory()) chownSync(path, stat.uid, stat.gid);
  };
  make('/');
  const made = new Set(['/']);
  for (const [name, text] of Object.entries(files)) {
    const parent = tree.find(posix.dirname(name)).path;
    const above = parent.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/') || '/');
    for (const directory of above) {
      if (!made.has(directory)) make(directory);
      made.add(directory);
    }
    writeFileSync(join(upper, parent, posix.basename(name)), text, { mode: 0o644 });
  }
}

function keeperScript(
  { title, directory, tty = false, groups }: LaunchPlan,
  { store, layers }: LaunchSpec,
  runtime: OciRuntime,
): string {
  const options = ['--root', join(directory, STATE), '--log', join(directory, OCI_LOG)];
  const run =
    runtime.name === 'crun'
      ? // What it cannot execute after the start it reports in the container's log, in the same format: as text.
        [runtime.path, ...options, '--cgroup-manager=disabled', 'run', '--bundle', directory, 'main']
      : // Without --keep it would remove the control group, and with it the counter of memory kills.
        [runtime.path, ...options, '--log-format', 'json', 'run', '--keep', '--bundle', directory, 'main'];
  const words = (tty ? terminalCommand(run) : run).map(quote).join(' ');
  // crun leaves control groups alone: the container is born in that of crun.
  const joins = runtime.name === 'crun' ? joinCommands(groups, false).map((command) => `${command} && `) : [];
  return `#!/bin/sh
# ${title}
D=${quote(directory)}
exec 7>&2 2>/dev/null 9>"$D/exit"
read -r stat < /proc/self/stat
echo "$stat" > "$D/keeper"
umask 022
# The root: the image's layers, with all changes in memory.
{
  mount -n -t tmpfs -o nodev,mode=0755 dataplane "$D/root" &&
  mkdir "$D/root/root" "$D/root/work" &&
  cp -dR --preserve=mode,ownership "$D/upper" "$D/root/upper" &&
  cd ${quote(store)} &&
  LIBMOUNT_FORCE_MOUNT2=always mount -n -t overlay overlay -o nodev,${quote(`lowerdir=${layers.join(':')}`)},upperdir="$D/root/upper",workdir="$D/root/work" "$D/root/root" &&
  cd /
} 2>"$D/error" || exit
${runtime.name === 'crun' ? HIDE_UNIFIED : ''}(${joins.join('')}exec ${words} 2>&7 3>&- 7>&- 9>&-)
echo $? >&9
`;
}

/** crun refuses to run where cgroup v2 has controllers beside those of v1, though it is not to touch any group. */
const HIDE_UNIFIED = 'umount -n -l /sys/fs/cgroup/unified\n';

/** The container's first process exists, and waits. The runtime's description of it is on standard input. */
const createdScript = (directory: string): string => `D=${quote(directory)}
IFS= read -r state
pid=\${state##*\\"pid\\":}
pid=\${pid# }
pid=\${pid%%[!0-9]*}
read -r stat < "/proc/$pid/stat" && echo "$stat" > "$D/pid"
`;

/** It has executed its program. The agent may have been killed meanwhile: opened like this, the pipe never blocks (fifo(7)). */
const startedScript = (directory: string): string => `D=${quote(directory)}
echo started > "$D/started"
echo started 1<> "$D/${READY}"
`;
