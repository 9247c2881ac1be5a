/**
 * Listening sockets in the host's own network namespace whose connections are relayed into the cluster. Nothing else of
 * the host's network is changed: no address, route or rule.
 */
import { createServer, type Server, type Socket } from 'node:net';

/** How long a connection into the cluster may take before the client is reset. */
const CONNECT_MS = 10_000;

export interface RelayOptions {
  /** Address and port to listen on; port 0 takes a free one. */
  readonly host: string;
  readonly port: number;
  /** Opens the connection into the cluster; it may still be connecting. */
  readonly dial: () => Promise<Socket> | Socket;
  readonly onConnection?: () => void;
  /** A connection could not be relayed, for this reason. */
  readonly onError: (reason: string) => void;
}

export interface Relay {
  /** The port it listens on. */
  readonly port: number;
  /** Stops listening and ends the connections. */
  close(): void;
}

/** @throws NodeJS.ErrnoException of listen: EADDRINUSE, EACCES, EADDRNOTAVAIL */
export async function listenAndRelay({ host, port, dial, onConnection, onError }: RelayOptions): Promise<Relay> {
  const clients = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    clients.add(client);
    client.once('close', () => clients.delete(client));
    client.on('error', () => {});
    onConnection?.();
    connectBoth(client, dial, onError).catch((error: Error) => {
      onError(error.message);
      client.resetAndDestroy();
    });
  });
  await listening(server, host, port);
  return {
    port: (server.address() as { port: number }).port,
    close: () => {
      server.close();
      for (const client of clients) client.destroy();
    },
  };
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      // An accept that fails (EMFILE) loses that connection only.
      server.on('error', () => {});
      resolve();
    });
  });
}

/** Each direction ends by itself, so that a client that has sent everything still gets the answer. */
async function connectBoth(
  client: Socket,
  dial: RelayOptions['dial'],
  onError: RelayOptions['onError'],
): Promise<void> {
  const peer = await dial();
  if (client.destroyed) {
    peer.destroy();
    return;
  }
  // A socket made from a descriptor is never "connecting"; until it is connected it has no remote address.
  const timer = setTimeout(() => {
    if (peer.remoteAddress === undefined) peer.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`));
  }, CONNECT_MS);
  peer.once('close', () => clearTimeout(timer));
  peer.on('error', (error: NodeJS.ErrnoException) => onError(REASONS[error.code ?? ''] ?? error.message));
  relayTo(client, peer);
  relayTo(peer, client);
  client.resume();
}

/** Everything, and the way it ends. Not stream.pipeline: it closes the other side even where it must be reset. */
function relayTo(from: Socket, to: Socket): void {
  from.pipe(to);
  // A client must not take a broken connection for the end of the answer.
  from.on('error', () => to.resetAndDestroy());
  from.once('close', () => {
    if (!from.readableEnded) to.destroy();
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  EHOSTUNREACH: 'no route to host',
  ETIMEDOUT: 'connection timed out',
  ECONNRESET: 'connection reset by peer',
};
