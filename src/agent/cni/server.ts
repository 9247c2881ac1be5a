/** The socket on which the CNI plugin (src/cni/main.ts) calls the agent. Only root may connect to it. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { CNI_NEWEST, type CniAnswer, CniCode, CniError, readDocument } from '../../cni/protocol.ts';
import type { Part } from '../parts.ts';
import type { CniPlugin } from './plugin.ts';
import { readRequest } from './requests.ts';

/** How long a plugin may take to send its request. */
const REQUEST_MS = 10_000;
/** kubelet starts pods ten at a time or so; others wait in the listener's queue. */
const MAX_CONNECTIONS = 256;

export class CniServer implements Part {
  private readonly path: string;
  private readonly plugin: Pick<CniPlugin, 'call'>;
  private readonly log: (line: string) => void;
  private readonly open = new Set<Socket>();
  private server: Server | undefined;

  constructor(path: string, plugin: Pick<CniPlugin, 'call'>, log: (line: string) => void) {
    this.path = path;
    this.plugin = plugin;
    this.log = log;
  }

  /** @throws Error if the socket cannot be opened */
  async start(): Promise<void> {
    mkdirSync(dirname(this.path), { recursive: true });
    rmSync(this.path, { force: true });
    const server = createServer({ allowHalfOpen: true }, (socket) => void this.serve(socket));
    server.maxConnections = MAX_CONNECTIONS;
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.path, resolve);
    });
    chmodSync(this.path, 0o600);
  }

  /** Calls under way get no answer; the runtime repeats them. */
  async close(): Promise<void> {
    for (const socket of this.open) socket.destroy();
    await new Promise<void>((resolve) => (this.server ? this.server.close(() => resolve()) : resolve()));
    rmSync(this.path, { force: true });
  }

  private async serve(socket: Socket): Promise<void> {
    this.open.add(socket);
    socket.once('close', () => this.open.delete(socket));
    socket.on('error', () => socket.destroy());
    const timer = setTimeout(() => socket.destroy(), REQUEST_MS);
    try {
      const text = await readDocument(socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>);
      clearTimeout(timer);
      if (!socket.destroyed) socket.end(JSON.stringify(await this.answer(text)));
    } catch {
      socket.destroy(); // The plugin has gone, or sends too much.
    } finally {
      clearTimeout(timer);
    }
  }

  private async answer(text: string): Promise<CniAnswer> {
    let version = CNI_NEWEST;
    try {
      const request = readRequest(text);
      version = request.config.cniVersion;
      const output = await this.plugin.call(request);
      return { ok: true, ...(output !== undefined && { output }) };
    } catch (error) {
      const failure = error instanceof CniError ? error : new CniError(CniCode.IO_FAILURE, (error as Error).message);
      const { message, details } = failure;
      this.log(`CNI: ${message}${details === undefined ? '' : ` (${details})`}`);
      return { ok: false, output: failure.document(version) };
    }
  }
}
