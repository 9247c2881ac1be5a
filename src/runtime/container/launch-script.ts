/**
 * The shell script that starts one container; it stays beside the container's state for debugging.
 *
 * It runs twice. First as the *keeper*, outside: `nsenter` and `unshare` have put it into the pod's network, UTS and
 * IPC namespaces and a mount namespace of its own, and its children into a PID namespace: a new one, or another
 * container's. It waits for its only child and records the exit status, so that an agent that was not running at that time
 * can read it. Then as that child, PID 1 of a new namespace, the *stage*: it builds the root (an overlay over the host's
 * own, with a tmpfs for changes that disappears with the mount namespace), enters it with pivot_root, and executes the
 * container's command.
 *
 * Beside the script: `keeper`, `pid` (their lines of /proc/pid/stat), `started` (not empty once the command is
 * executed), `error` (a failure before that), `exit` (the status, as in sh: 128 + signal).
 */
import { dirname } from 'node:path';
import type { OciRuntime } from '../oci/runtime.ts';
import { fstabField, quote } from '../shell.ts';
import { confineCommand, joinCommands } from './launcher-command.ts';
import { type Privileges, privilegeCommand } from './security.ts';

export interface BindMount {
  source: string;
  target: string;
  readOnly: boolean;
  /** The source is a file, not a directory. */
  file: boolean;
}

/** The image that is the container's root, instead of the host's. */
export interface ImagePlan {
  /** Directory of the unpacked layers, and their names in it, the uppermost first. */
  store: string;
  layers: readonly string[];
  /** `USER` of the image; looked up in the image's own /etc/passwd. */
  user: string;
  /** Path → text of files that replace the image's. */
  files: Readonly<Record<string, string>>;
}

export interface LaunchPlan {
  /** Title in the script's first lines. */
  title: string;
  /** Directory of the script; `files/` in it is copied over the root, `root/` is where the root is built. */
  directory: string;
  /** Started from an image (image-launch.ts); undefined: from the host's own file system. */
  root?: ImagePlan | undefined;
  /** Starts containers of images; undefined: our own launcher. */
  runtime?: OciRuntime | undefined;
  /** Mounts of the host that make up the root, `/` first; none with an image. */
  layers: readonly string[];
  /** A mount of the host to make executable inside: the one with the volumes, if it is not. */
  makeExecutable?: string | undefined;
  /** A process, by its host pid, whose PID namespace the container joins; undefined: it has one of its own. */
  processesOf?: number | undefined;
  /** Device nodes of the host to provide. */
  devices: readonly string[];
  /** Files of /proc to hide, directories of /proc to make read-only. */
  hidden: readonly string[];
  readOnly: readonly string[];
  directories: readonly string[];
  mounts: readonly BindMount[];
  workingDir: string;
  environment: ReadonlyMap<string, string>;
  privileges: Privileges;
  /** The root, but not the volumes in it. */
  readOnlyRoot: boolean;
  command: readonly string[];
  /** oom_score_adj (proc(5)). */
  oomScore: number;
  /** Files of its control groups, to which its first process writes 0 (cgroups(7)). */
  groups: readonly string[];
  /** Path of its control group below the root of each tree; undefined if it has none. */
  group?: string | undefined;
  /** Give it a terminal of its own as standard input and output. */
  tty?: boolean;
}

/** Mount point of the host's root during set-up. */
const OLD_ROOT = '.host';

/** Arguments that start a program whose children are in the container's PID namespace; it is not in there itself. */
export const enterProcesses = (processesOf: number | undefined): string[] =>
  processesOf === undefined
    ? ['unshare', '--pid', '--']
    : ['nsenter', '--no-fork', '--target', String(processesOf), '--pid', '--'];

/** Arguments that start the keeper in a mount namespace of its own; those of enterProcesses too, unless an image does it. */
export function ownMounts({ root, processesOf }: Pick<LaunchPlan, 'root' | 'processesOf'>): string[] {
  const words = ['unshare', '--mount', '--propagation', 'private'];
  if (root !== undefined) return [...words, '--'];
  return processesOf === undefined ? [...words, '--pid', '--'] : [...words, '--', ...enterProcesses(processesOf)];
}

export const SCRIPT_FILE = 'launch.sh';
export const ENVIRONMENT_FILE = 'environment';

/** fstab of the kernel file systems in a container. */
function kernelMounts(plan: Pick<LaunchPlan, 'readOnly'>): string {
  const lines = [
    'proc /proc proc nosuid,nodev,noexec',
    ...plan.readOnly.map((path) => `${path} ${path} none bind,ro`),
    'sysfs /sys sysfs ro,nosuid,nodev,noexec',
    // nodev: nothing created in it is a device; the host's devices that a container has are bind-mounted.
    'tmpfs /dev tmpfs nosuid,nodev,mode=0755,size=65536k',
    'devpts /dev/pts devpts x-mount.mkdir,nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5',
    'tmpfs /dev/shm tmpfs x-mount.mkdir,nosuid,nodev,noexec,mode=1777,size=65536k',
    'tmpfs /run tmpfs x-mount.mkdir,nosuid,nodev,mode=0755',
  ];
  return lines.map((line) => `${line} 0 0\n`).join('');
}

/**
 * fstab of the bind mounts from the host: volumes, and /dev/null over hidden files. `nodev`: a device node that a
 * container creates in a volume cannot be opened (as containerd mounts volumes; CVE-2016-9962 shows why no layer may
 * omit it).
 */
function bindMounts(plan: Pick<LaunchPlan, 'hidden' | 'mounts'>): string {
  const volumes = plan.mounts.map(
    ({ source, target, readOnly }) =>
      `${fstabField(`/${OLD_ROOT}${source}`)} ${fstabField(target)} none ${readOnly ? 'bind,ro,nodev' : 'rbind,nodev'} 0 0\n`,
  );
  return [...plan.hidden.map((path) => `/${OLD_ROOT}/dev/null ${path} none bind 0 0\n`), ...volumes].join('');
}

/** script(1) opens a terminal from the container's own /dev/pts and copies between it and our own input and output. */
export function terminalCommand(words: readonly string[]): string[] {
  return ['script', '-q', '-e', '-f', '-c', `exec ${words.map(quote).join(' ')}`, '/dev/null'];
}

function launchScript(plan: LaunchPlan): string {
  return `#!/bin/sh
# ${plan.title}
D=${quote(plan.directory)}

if [ $# = 0 ]; then
  exec 7>&2 2>/dev/null 9>"$D/exit"
  read -r stat < /proc/self/stat
  echo "$stat" > "$D/keeper"
  # A subshell: without one, the shell's own message about a killed command would be in the container's log.
  (exec sh "$0" stage 2>&7 7>&- 9>&-)
  echo $? >&9
  exit
fi

set -e
umask 022
exec 5>"$D/started" 6>"$D/error" 7>&2 2>&6
read -r stat < /proc/self/stat
echo "$stat" > "$D/pid"
fail() { echo "$*" >&6; exit 128; }
# A machine may forbid to lower it (CAP_SYS_RESOURCE).
{ echo ${plan.oomScore} > /proc/self/oom_score_adj; } 2>/dev/null || :

# The root: the host's, with all changes in memory.
R="$D/root"
${plan.makeExecutable === undefined ? '' : `mount -n -o remount,bind,exec ${quote(plan.makeExecutable)}\n`}mount -n -t tmpfs -o nodev,mode=0755 dataplane "$R"
mkdir "$R/root" ${plan.layers.map((_, i) => `"$R/upper${i}" "$R/work${i}"`).join(' ')} "$R/upper0/${OLD_ROOT}"
${plan.layers.map(layerLines).join('\n')}
cd "$R/root"
pivot_root . ${OLD_ROOT}
cd /
mount -n -a -T "/${OLD_ROOT}$D/kernel.fstab"
${deviceLines(plan)}
ln -s pts/ptmx /dev/ptmx
mkdir -p /run/lock ${directoriesOf(plan).map(quote).join(' ')}
cp -dR --remove-destination "/${OLD_ROOT}$D/files/." /
${mountLines(plan)}${joinLines(plan)}umount -n -l /${OLD_ROOT}
rmdir /${OLD_ROOT}
${readOnlyLines(plan)}
# The command.
cd ${quote(plan.workingDir)}
${checkLines(plan)}
echo started >&5
(trap '' PIPE; echo started >&3) || :
exec 2>&7 3>&- 5>&- 6>&- 7>&-
exec ${finalCommand(plan).map(quote).join(' ')}
`;
}

function layerLines(path: string, i: number): string {
  const at = path === '/' ? '' : path;
  const overlay = `mount -n -t overlay overlay -o nodev,${quote(`lowerdir=${path}`)},upperdir="$R/upper${i}",workdir="$R/work${i}" "$R/root"${quote(at)}`;
  if (path === '/') return `${overlay} ||\n  fail 'the root file system cannot be layered (overlayfs)'`;
  // A file system that cannot be a lower layer is bind-mounted read-only.
  return `${overlay} 2>/dev/null || mount -n -o bind,ro,nodev ${quote(path)} "$R/root"${quote(at)} 2>/dev/null || :`;
}

/**
 * Device nodes are bound over empty files, because /dev itself allows none; links are copied. With one process for all of each:
 * starting them is most of what a container's start takes.
 */
function deviceLines({ devices }: LaunchPlan): string {
  return `links=
for path in ${devices.map(quote).join(' ')}; do
  if [ -h "/${OLD_ROOT}$path" ]; then links="$links /${OLD_ROOT}$path"
  else : > "$path"; echo "/${OLD_ROOT}$path $path none bind 0 0"; fi
done > "/${OLD_ROOT}$R/devices.fstab"
mount -n -a -T "/${OLD_ROOT}$R/devices.fstab"
[ -z "$links" ] || cp -dR $links /dev`;
}

function directoriesOf(plan: LaunchPlan): string[] {
  const targets = plan.mounts.map(({ target, file }) => (file ? dirname(target) : target));
  return [...new Set([...plan.directories, ...targets, plan.workingDir])];
}

function mountLines({ mounts, hidden }: LaunchPlan): string {
  const files = mounts
    .filter(({ file }) => file)
    .map(({ target }) => `[ -e ${quote(target)} ] || : > ${quote(target)}\n`);
  return mounts.length + hidden.length === 0 ? '' : `${files.join('')}mount -n -a -T "/${OLD_ROOT}$D/volumes.fstab"\n`;
}

/** Last, so that a small share of the processor does not delay the set-up. */
function joinLines({ groups, privileges }: LaunchPlan): string {
  const files = groups.map((file) => `/${OLD_ROOT}${file}`);
  return joinCommands(files, privileges.filtered)
    .map((command) => `${command}\n`)
    .join('');
}

function readOnlyLines({ readOnlyRoot, layers }: LaunchPlan): string {
  return readOnlyRoot ? layers.map((path) => `mount -n -o remount,bind,ro ${quote(path)}\n`).join('') : '';
}

function checkLines({ command, environment }: LaunchPlan): string {
  const program = command[0]!;
  if (program.includes('/')) {
    const missing = quote(`exec: "${program}": no such file or directory`);
    const refused = quote(`exec: "${program}": permission denied`);
    return `[ -f ${quote(program)} ] || fail ${missing}\n[ -x ${quote(program)} ] || fail ${refused}`;
  }
  const missing = quote(`exec: "${program}": executable file not found in $PATH`);
  return `(PATH=${quote(environment.get('PATH') ?? '')}; command -v -- ${quote(program)} >/dev/null) || fail ${missing}`;
}

function finalCommand(plan: LaunchPlan): string[] {
  const environment = [...plan.environment].map(([name, value]) => `${name}=${value}`);
  const words = [...privilegeCommand(plan.privileges), 'env', '-i', ...environment, ...plan.command];
  const own = plan.tty === true ? terminalCommand(words) : words;
  const { privileges, groups } = plan;
  if (privileges.filtered) {
    const joins = groups.length > 0;
    return [...confineCommand({ capabilities: privileges.capabilities, joins, newGroupNamespace: joins }), ...own];
  }
  // A namespace of control groups, whose root is the group it has just joined.
  return groups.length === 0 ? own : ['unshare', '--cgroup', '--', ...own];
}

/** Files the script expects in its directory. */
export const launchFiles = (plan: LaunchPlan): Record<string, string> => ({
  [SCRIPT_FILE]: launchScript(plan),
  'kernel.fstab': kernelMounts(plan),
  'volumes.fstab': bindMounts(plan),
  // Each entry ends with NUL, as in /proc/pid/environ, which a program such as nginx overwrites.
  [ENVIRONMENT_FILE]: [...plan.environment].map(([name, value]) => `${name}=${value}\0`).join(''),
});
