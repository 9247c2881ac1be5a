/**
 * Installs the CNI plugin where container runtimes look for it, and last of all the configuration that makes them use it:
 * a runtime that finds one takes the node's network to be ready.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CNI_NEWEST } from '../../cni/protocol.ts';

/** Names of the plugin and of its configuration; the number puts it before those of other networks. */
const PLUGIN = 'dataplane-cni';
const CONFIGURATION = '05-dataplane.conflist';

/** Where runtimes look: containerd, CRI-O and kubelet have these defaults. */
export const CNI_CONFIG_DIR = '/etc/cni/net.d';
export const CNI_BIN_DIR = '/opt/cni/bin';

export interface CniDirectories {
  readonly configuration: string;
  readonly programs: string;
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
  replace(join(directories.programs, PLUGIN), script, 0o755);
  const list = {
    cniVersion: CNI_NEWEST,
    name: 'dataplane',
    plugins: [{ type: PLUGIN, agentSocket: socket, capabilities: { portMappings: true, ips: true } }],
  };
  replace(join(directories.configuration, CONFIGURATION), `${JSON.stringify(list, undefined, 2)}\n`, 0o644);
}

/** Write a file atomically, unless it has this content. */
function replace(path: string, text: string, mode: number): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  // Runtimes read every file of the folder that ends in .conf, .conflist or .json.
  writeFileSync(`${path}.new`, text, { mode });
  chmodSync(`${path}.new`, mode);
  renameSync(`${path}.new`, path);
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
