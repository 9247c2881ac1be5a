/** The parts of an agent beside a container runtime. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CNI_SOCKET } from '../../cni/protocol.ts';
import { gatewayOf } from '../../net/pod-network.ts';
import { STANDBY_LOCK } from '../../standby/find.ts';
import type { NodeConfig } from '../config.ts';
import type { Part } from '../parts.ts';
import { type CniDirectories, installCni } from './installation.ts';
import { CniPlugin, type CniPluginOptions } from './plugin.ts';
import { copyProgram } from './program-copy.ts';
import { CniServer } from './server.ts';

/** How a container runtime finds the plugin. */
export interface CniOptions {
  readonly directories: CniDirectories;
  /** Default: CNI_SOCKET. */
  readonly socket?: string | undefined;
  /** The plugin that assigns the addresses; default: the agent does. */
  readonly ipam?: string | undefined;
  /** Runtimes cannot start the plugin where it is: the agent runs in a container. */
  readonly copiesProgram?: boolean;
}

export interface ContainersOptions extends CniOptions, Omit<CniPluginOptions, 'podCIDR' | 'file'> {
  readonly config: Pick<NodeConfig, 'nodeName' | 'podCIDR'>;
  readonly stateDir: string;
  /** The agent has a standby. */
  readonly standby: boolean;
}

/** The bundled plugin. The agent is in cli/ beside it. */
const PLUGIN_FILE = fileURLToPath(new URL('../cni/main.js', import.meta.url));

/** Fields of host-local, which other plugins for addresses have taken over. */
const ipamOf = (type: string, podCIDR: string): object => ({
  type,
  ranges: [[{ subnet: podCIDR, gateway: gatewayOf(podCIDR) }]],
});

/**
 * Two parts of the agent: the containers, which are connected before packets flow, and the service for runtimes, which
 * begins after that.
 * @throws Error if the list of containers is damaged
 */
export function openCni(options: ContainersOptions): { containers: CniPlugin; service: Part } {
  const { config, stateDir, directories, socket = CNI_SOCKET, log } = options;
  const node = join(stateDir, 'nodes', config.nodeName);
  const file = join(node, 'cni.json');
  const containers = new CniPlugin({ ...options, podCIDR: config.podCIDR, file });
  const server = new CniServer(socket, containers, log);
  const service: Part = {
    async start() {
      await server.start();
      installCni({
        directories,
        command: options.copiesProgram
          ? copyProgram(directories.programs, PLUGIN_FILE)
          : [process.execPath, PLUGIN_FILE],
        socket,
        standbyLock: options.standby ? join(node, STANDBY_LOCK) : undefined,
        ipam: options.ipam === undefined ? undefined : ipamOf(options.ipam, config.podCIDR),
      });
      log(`container runtimes are served: ${directories.configuration} has the configuration`);
    },
    close: () => server.close(),
  };
  return { containers, service };
}
