/** `dataplane restart`: restarts one container of a pod, or all. The pod keeps its network namespace and address. */
import { request } from 'node:http';
import { agentSocketPath } from '../../api/agent-socket.ts';
import { STATE_DIR } from '../../cluster/state.ts';
import type { Args, Command } from '../args/args.ts';
import { findPod, POD_OPTIONS, readPodName } from '../args/pod-args.ts';
import { failed } from '../errors.ts';
import { print } from '../output/output.ts';
import { namespaceOf, withClient } from '../with-client.ts';

const TIMEOUT_MS = 60_000;

export const command: Command = {
  usage: ['restart POD [-c CONTAINER] [-n NAMESPACE]'],
  about: 'Restart one container of a pod, or all of them. The pod keeps its network namespace and address.',
  options: { ...POD_OPTIONS, help: { short: 'h', help: 'show this help' } },
  run,
};

async function run(args: Args): Promise<void> {
  const name = readPodName('restart', args);
  const namespace = namespaceOf(args);
  await withClient(async (client) => {
    const { pod, container } = await findPod(client, name, namespace, args.text('container'), false);
    const node = pod.spec.nodeName;
    if (!node) throw failed(`pod ${name} is not assigned to a node yet`, `see \`dataplane describe pod ${name}\``);
    await askAgent(node, { namespace, pod: name, ...(container !== undefined && { container }) });
    print(`pod/${name} restarted${container === undefined ? '' : ` (container ${container})`}`);
  });
}

/** @throws CliError with the agent's message if it refuses */
function askAgent(node: string, query: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    const socketPath = agentSocketPath(STATE_DIR, node);
    const path = `/restart?${new URLSearchParams(query)}`;
    const asked = request({ socketPath, path, method: 'POST', timeout: TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        if (response.statusCode === 200) return resolve();
        const { message } = JSON.parse(text) as { message: string };
        reject(failed(message));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error('no response')));
    asked.on('error', (error) =>
      reject(failed(`the agent of node ${node}: ${error.message}`, 'see `dataplane status`')),
    );
    asked.end();
  });
}
