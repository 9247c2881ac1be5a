/** The parts of an agent beside a container runtime. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CNI_SOCKET } from '../../cni/protocol.ts';
import type { NodeConfig } from '../config.ts';
import type { Part } from '../parts.ts';
import { type CniDirectories, installCni } from './installation.ts';
import { CniPlugin, type CniPluginOptions } from './plugin.ts';
import { CniServer } from './server.ts';

/** How a container runtime finds the plugin. */
export interface CniOptions {
  readonly directories: CniDirectories;
  /** Default: CNI_SOCKET. */
  readonly socket?: string | undefined;
}

export interface ContainersOptions extends CniOptions, Omit<CniPluginOptions, 'podCIDR' | 'file'> {
  readonly config: Pick<NodeConfig, 'nodeName' | 'podCIDR'>;
  readonly stateDir: string;
}

/** The bundled plugin. The agent is in cli/ beside it. */
const PLUGIN_FILE = fileURLToPath(new URL('../cni/main.js', import.meta.url));

/**
 * Two parts of the agent: the containers, which are connected before packets flow, and the service for runtimes, which
 * begins after that.
 * @throws Error if the list of containers is damaged
 */
export function openCni(options: ContainersOptions): { containers: CniPlugin; service: Part } {
  const { config, stateDir, directories, socket = CNI_SOCKET, log } = options;
  const file = join(stateDir, 'nodes', config.nodeName, 'cni.json');
  const containers = new CniPlugin({ ...options, podCIDR: config.podCIDR, file });
  const server = new CniServer(socket, containers, log);
  const service: Part = {
    async start() {
      await server.start();
      installCni(directories, [process.execPath, PLUGIN_FILE], socket);
      log(`container runtimes are served: ${directories.configuration} has the configuration`);
    },
    close: () => server.close(),
  };
  return { containers, service };
}
