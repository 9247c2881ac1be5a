/** Where a node's agent listens on its own machine. */
import { join } from 'node:path';

export const agentSocketPath = (stateDir: string, node: string): string => join(stateDir, 'nodes', node, 'agent.sock');
