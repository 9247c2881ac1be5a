/** A node's own small door for the CLI: things only the running agent can do. A unix socket that root alone may open. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';

/** Name of the socket in a node's state directory. */
export const AGENT_SOCKET = 'agent.sock';

export interface AgentActions {
  /** Restart one container, or all of a pod. Rejects with a sentence when there is no such thing. */
  restart(namespace: string, pod: string, container: string | undefined): Promise<void>;
}

/** Serve until the returned function is called. POST /restart?namespace=…&pod=…[&container=…] */
export async function serveAgentControl(directory: string, actions: AgentActions): Promise<() => Promise<void>> {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, AGENT_SOCKET);
  rmSync(path, { force: true });
  const server = createServer((request, response) => void answer(request, response, actions));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
    rmSync(path, { force: true });
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, actions: AgentActions): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://agent');
  const done = (status: number, message: string): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ message }));
  };
  if (request.method !== 'POST' || url.pathname !== '/restart')
    return done(404, `${request.method} ${url.pathname}: no such action`);
  const pod = url.searchParams.get('pod');
  if (pod === null) return done(400, 'pod is missing');
  try {
    await actions.restart(
      url.searchParams.get('namespace') ?? 'default',
      pod,
      url.searchParams.get('container') ?? undefined,
    );
    done(200, 'restarted');
  } catch (error) {
    done(404, (error as Error).message);
  }
}
