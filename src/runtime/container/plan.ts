/** From a container's manifest to a complete launch plan. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join, posix } from 'node:path';
import type { Container, Pod } from '../../api/types/objects.ts';
import { type ConfigSource, ContainerConfigError } from '../files/config-source.ts';
import { accountFiles, type DnsSettings, hostsFile, kernelHostname, resolvConf } from '../files/etc-files.ts';
import { hostDevices, hostMounts, layeredMounts, mountOf } from '../files/host-mounts.ts';
import { insidePath } from '../files/volume-files.ts';
import { followsObjects, volumePath } from '../files/volumes.ts';
import type { CatalogueImage } from '../image/catalogue-image.ts';
import type { RunnableImage } from '../image/images.ts';
import { containerDirectory } from '../state.ts';
import { commandOf, environmentOf, expand } from './environment.ts';
import type { BindMount, LaunchPlan } from './launch-script.ts';
import { RESOLV_CONF_FILE } from './resolv-conf.ts';
import { oomScore } from './resources.ts';
import { privilegesOf } from './security.ts';
import { prepareTerminationMessage } from './termination-message.ts';

/** runc's default maskedPaths and readonlyPaths, where the host has them. */
const HIDDEN_FILES = ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug'];
const READ_ONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface ContainerFacts {
  podDir: string;
  podIP: string;
  hostIP: string;
  dns: DnsSettings | undefined;
  /** Variables for the Services that exist now. */
  services: ReadonlyMap<string, string>;
  /** Number of this instance of the container, from 1. */
  instance: number;
}

/**
 * Also writes the files that are copied over the container's root.
 * @throws ContainerConfigError if the manifest cannot be applied at present
 */
export async function planContainer(
  pod: Pod,
  container: Container,
  image: RunnableImage,
  facts: ContainerFacts,
  source: ConfigSource,
): Promise<LaunchPlan> {
  const { podDir, podIP, hostIP, dns, services } = facts;
  const directory = containerDirectory(podDir, container.name);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const accounts = accountFiles(image.users);
  const privileges = privilegesOf(pod, container, image.root?.user);
  const home = image.root === undefined ? homeOf(privileges.user ?? 0, accounts?.passwd) : undefined;
  const hostname = kernelHostname(pod, dns?.domain);
  const environmentFacts = { podIP, hostIP, hostname, services, ...(home !== undefined && { home }) };
  const environment = await environmentOf(pod, container, image, environmentFacts, source);
  const files = {
    '/etc/hosts': hostsFile(pod, podIP, dns?.domain ?? 'cluster.local'),
    '/etc/hostname': `${hostname}\n`,
    '/etc/resolv.conf': resolvConf(pod, dns),
    ...(accounts && { '/etc/passwd': accounts.passwd, '/etc/group': accounts.group }),
  };
  if (image.root === undefined) writeFiles(join(directory, 'files'), image, files);
  writeFileSync(join(directory, RESOLV_CONF_FILE), files['/etc/resolv.conf'], { mode: 0o644 });
  const mounts = hostMounts();
  const stateMount = mountOf(podDir, mounts);
  const { namespace = 'default', name } = pod.metadata;
  return {
    title: `${namespace}/${name}: container ${container.name}, instance ${facts.instance}`,
    directory,
    root: image.root && { ...image.root, files },
    layers: image.root === undefined ? layeredMounts(mounts).map(({ path }) => path) : [],
    makeExecutable: stateMount?.noexec ? stateMount.path : undefined,
    devices: hostDevices(),
    hidden: HIDDEN_FILES.filter(existsSync),
    readOnly: READ_ONLY.filter(existsSync),
    directories: image.directories ?? [],
    mounts: [...bindMountsOf(pod, container, podDir, environment), prepareTerminationMessage(directory, container)],
    workingDir: container.workingDir || image.workingDir || '/',
    environment,
    privileges,
    readOnlyRoot: container.securityContext?.readOnlyRootFilesystem === true,
    command: commandOf(container, image, environment),
    oomScore: oomScore(pod, container, totalmem()),
    groups: [],
    tty: container.tty === true,
  };
}

function bindMountsOf(
  pod: Pod,
  container: Container,
  podDir: string,
  environment: ReadonlyMap<string, string>,
): BindMount[] {
  const mounts = (container.volumeMounts ?? []).map(({ name, mountPath, readOnly, ...sub }): BindMount => {
    const volume = pod.spec.volumes?.find((v) => v.name === name);
    if (volume === undefined) throw new ContainerConfigError(`there is no volume "${name}"`);
    const root = volumePath(podDir, volume);
    const subPath = sub.subPathExpr ? expandAll(sub.subPathExpr, environment) : sub.subPath;
    return {
      source: subPath ? subPathOf(root, subPath) : root,
      target: posix.join('/', mountPath),
      readOnly: readOnly === true || volume.persistentVolumeClaim?.readOnly === true || followsObjects(volume),
      file: statSync(subPath ? subPathOf(root, subPath) : root).isFile(),
    };
  });
  // Nested mounts come after the mounts that contain them.
  return mounts.sort((a, b) => a.target.length - b.target.length);
}

/** @throws ContainerConfigError if a variable is not set: the path would be that of another container */
function expandAll(text: string, environment: ReadonlyMap<string, string>): string {
  const missing = [...text.matchAll(/\$\(([^)]*)\)/g)].find(([, name]) => !environment.has(name!));
  if (missing !== undefined)
    throw new ContainerConfigError(`missing value for "${missing[1]}" in subPathExpr "${text}"`);
  return expand(text, environment);
}

/** The real path of a part of a volume; a directory is created if it does not exist. Never outside the volume. */
function subPathOf(root: string, subPath: string): string {
  let path: string;
  try {
    path = join(root, insidePath(subPath));
    if (!existsSync(path)) mkdirSync(path, { recursive: true, mode: 0o755 });
    path = realpathSync(path);
  } catch (error) {
    throw new ContainerConfigError(`failed to prepare subPath "${subPath}": ${(error as Error).message}`);
  }
  // A container may have created a symbolic link in its volume (CVE-2017-1002101).
  if (!path.startsWith(`${realpathSync(root)}/`))
    throw new ContainerConfigError(`subPath "${subPath}" leads out of the volume`);
  return path;
}

function writeFiles(directory: string, image: CatalogueImage, etc: Record<string, string>): void {
  rmSync(directory, { recursive: true, force: true });
  for (const [path, text] of Object.entries({ ...image.files, ...etc })) {
    const target = join(directory, posix.join('/', path));
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    writeFileSync(target, text, { mode: 0o644 });
  }
  for (const [path, to] of Object.entries(image.links ?? {})) {
    const target = join(directory, posix.join('/', path));
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    symlinkSync(to, target);
  }
}

function homeOf(uid: number, passwd = readPasswd()): string {
  const line = passwd.split('\n').find((l) => l.split(':')[2] === String(uid));
  return line?.split(':')[5] || '/';
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return 'root:x:0:0:root:/root:/bin/sh\n';
  }
}
