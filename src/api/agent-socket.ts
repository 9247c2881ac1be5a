/** Files of a node's agent that other processes use: the unix socket it listens on, and its signs of life. */
import { join } from 'node:path';

export const agentSocketPath = (stateDir: string, node: string): string => join(stateDir, 'nodes', node, 'agent.sock');
export const agentLifeSigns = (stateDir: string, node: string): string => join(stateDir, 'nodes', node, 'agent.alive');
