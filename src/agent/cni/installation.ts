/**
 * Installs the CNI plugin where container runtimes look for it, and last of all the configuration that makes them use it:
 * a runtime that finds one takes the node's network to be ready.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CNI_NEWEST } from '../../cni/protocol.ts';
import { replaceFile } from '../../linux/replace-file.ts';

/** Names of the plugin and of its configuration; the number puts it before those of other networks. */
const PLUGIN = 'dataplane-cni';
export const CNI_CONFIGURATION = '05-dataplane.conflist';

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

/**
 * @param command how the plugin is started: the program of Node and the path of the bundled plugin
 * @param socket the agent's
 * @throws Error of the file system
 */
export function installCni(directories: CniDirectories, command: readonly string[], socket: string): void {
  mkdirSync(directories.programs, { recursive: true });
  mkdirSync(directories.configuration, { recursive: true });
  const script = `#!/bin/sh\nexec ${command.map(quoted).join(' ')}\n`;
  const [configuration, program] = cniFiles(directories);
  replace(program, script, 0o755);
  const list = {
    cniVersion: CNI_NEWEST,
    name: 'dataplane',
    plugins: [{ type: PLUGIN, agentSocket: socket, capabilities: { portMappings: true, ips: true } }],
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
