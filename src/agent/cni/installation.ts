/**
 * Installs the CNI plugin where container runtimes look for it, and last of all the configuration that makes them use it:
 * a runtime that finds one takes the node's network to be ready.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CNI_VERSIONS } from '../../cni/protocol.ts';
import { replaceFile } from '../../linux/replace-file.ts';

/** Names of the plugin and of its configuration; the number puts it before those of other networks. */
const PLUGIN = 'dataplane-cni';
export const CNI_CONFIGURATION = '05-dataplane.conflist';

/**
 * The version for runtimes that read no list of versions: they take this one whether they know it or not. libcni 1.0 and 1.1, in
 * containerd 1.6 and 1.7, fail with a later one (libcni reads `cniVersions` from 1.2 on).
 */
const CNI_COMMON = '1.0.0';

/** What a runtime may ask for (containernetworking/cni CONVENTIONS.md). */
const CAPABILITIES = { portMappings: true, ips: true, mac: true, bandwidth: true };

/** Where runtimes look: containerd, CRI-O and kubelet have these defaults. */
export const CNI_CONFIG_DIR = '/etc/cni/net.d';
export const CNI_BIN_DIR = '/opt/cni/bin';

export interface CniDirectories {
  readonly configuration: string;
  readonly programs: string;
}

/** The files that are installed, in the order in which they have to be removed. */
export function cniFiles({ configuration, programs }: CniDirectories): [configuration: string, program: string] {
  return [join(configuration, CNI_CONFIGURATION), join(programs, PLUGIN)];
}

/** What is installed. */
export interface CniInstallation {
  readonly directories: CniDirectories;
  /** How the plugin is started. */
  readonly command: readonly string[];
  /** The agent's. */
  readonly socket: string;
  /** The file with the pid of the agent's standby, if it has one. */
  readonly standbyLock?: string | undefined;
  /** The configuration of the plugin that assigns addresses, if the agent does not. */
  readonly ipam?: object | undefined;
}

/** @throws Error of the file system */
export function installCni({ directories, command, socket, standbyLock, ipam }: CniInstallation): void {
  mkdirSync(directories.programs, { recursive: true });
  mkdirSync(directories.configuration, { recursive: true });
  const script = `#!/bin/sh\nexec ${command.map(quoted).join(' ')}\n`;
  const [configuration, program] = cniFiles(directories);
  replace(program, script, 0o755);
  const list = {
    cniVersion: CNI_COMMON,
    cniVersions: CNI_VERSIONS,
    name: 'dataplane',
    plugins: [{ type: PLUGIN, agentSocket: socket, standbyLock, ipam, capabilities: CAPABILITIES }],
  };
  replace(configuration, `${JSON.stringify(list, undefined, 2)}\n`, 0o644);
}

/**
 * Runtimes watch the folder: a file that has this content already is left alone. Of the others they read those that end in
 * .conf, .conflist or .json, not the one that replaceFile writes first.
 */
function replace(path: string, text: string, mode: number): void {
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) replaceFile(path, text, { mode });
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
