/**
 * The node's control socket for the CLI: operations that only the running agent can perform. A unix socket that only
 * root may open.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import { agentSocketPath } from '../api/agent-socket.ts';
import type { PodGroups } from '../runtime/pod/groups.ts';
import type { Part } from './parts.ts';
import { NodeUsage } from './pods/usage.ts';
import { PodStreams } from './streams/pod-streams.ts';

export interface ControlSocketOptions {
  readonly nodeName: string;
  readonly stateDir: string;
  /** The control groups of the pods. */
  readonly groups: PodGroups;
  /** Restart one container, or all of a pod. Rejects with a one-line message if there is no such pod or container. */
  readonly restart: (namespace: string, pod: string, container: string | undefined) => Promise<void>;
}

/**
 * Serves the streams of pods; POST /restart?namespace=…&pod=…[&container=…]; GET /stats/summary: usage of the node and its
 * pods.
 */
export class ControlSocket implements Part {
  private readonly options: ControlSocketOptions;
  private readonly path: string;
  private readonly usage: NodeUsage;
  private readonly server: Server;
  private readonly upgraded = new Set<Duplex>();

  constructor(options: ControlSocketOptions) {
    const { nodeName, stateDir, groups } = options;
    this.options = options;
    this.path = agentSocketPath(stateDir, nodeName);
    this.usage = new NodeUsage(nodeName, stateDir, groups);
    const streams = new PodStreams(stateDir);
    this.server = createServer({ requestTimeout: 0 }, (request, response) => {
      const handle = async (): Promise<void> => {
        if (!streams.serve(request, response)) await this.answer(request, response);
      };
      // Not every path is a valid URL, and an exception here would end the agent.
      handle().catch((error: Error) => send(response, 400, { message: `${request.url}: ${error.message}` }));
    });
    this.server.on('upgrade', (request, socket, head) => streams.upgrade(request, this.keep(socket), head));
    this.server.on('connect', (request, socket, head) => streams.connect(request, this.keep(socket), head));
  }

  async start(): Promise<void> {
    const { path, server } = this;
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    chmodSync(path, 0o600);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    for (const socket of this.upgraded) socket.destroy(); // Node no longer counts them among the server's.
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
    rmSync(this.path, { force: true });
  }

  private keep(socket: Duplex): Duplex {
    this.upgraded.add(socket);
    socket.once('close', () => this.upgraded.delete(socket));
    return socket;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://agent');
    const done = (status: number, message: string): void => send(response, status, { message });
    if (request.method === 'GET' && url.pathname === '/stats/summary') {
      const measured = await this.usage.summary().catch((error: Error) => error);
      return measured instanceof Error ? done(500, measured.message) : send(response, 200, measured);
    }
    if (request.method !== 'POST' || url.pathname !== '/restart')
      return done(404, `${request.method} ${url.pathname}: no such action`);
    const pod = url.searchParams.get('pod');
    if (pod === null) return done(400, 'pod is missing');
    try {
      await this.options.restart(
        url.searchParams.get('namespace') ?? 'default',
        pod,
        url.searchParams.get('container') ?? undefined,
      );
      done(200, 'restarted');
    } catch (error) {
      done(404, (error as Error).message);
    }
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
