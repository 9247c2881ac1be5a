/** Path of the unix socket that a node's agent listens on. */
import { join } from 'node:path';

export const agentSocketPath = (stateDir: string, node: string): string => join(stateDir, 'nodes', node, 'agent.sock');
