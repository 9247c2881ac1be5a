/**
 * Limits on the connections that a listening socket holds, in total and per client address. Without them an idle client
 * that opens connections could use all file descriptors of the process.
 *
 * The newest connection is served and the oldest closed: a client that exceeds its share only loses its own
 * connections, and if the total is reached, the client with the most connections loses one.
 */
import type { Server, Socket } from 'node:net';

export interface ConnectionLimits {
  readonly total: number;
  readonly perAddress: number;
}

/** Apply `limits` to a server. @returns a function that returns how many connections have been closed for it */
export function limitConnections(server: Server, limits: ConnectionLimits): () => number {
  // Sets keep the order of insertion.
  const open = new Map<string, Set<Socket>>();
  let count = 0;
  let closed = 0;
  const closeOldest = (sockets: Set<Socket>): void => {
    const [oldest] = sockets;
    closed++;
    if (oldest) forget(oldest, sockets);
    oldest?.destroy();
  };
  const addressOf = new WeakMap<Socket, string>();
  const forget = (socket: Socket, sockets: Set<Socket>): void => {
    if (!sockets.delete(socket)) return;
    count--;
    const address = addressOf.get(socket) ?? '';
    if (sockets.size === 0 && open.get(address) === sockets) open.delete(address);
  };
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    addressOf.set(socket, address);
    const own = open.get(address) ?? new Set<Socket>();
    if (own.size >= limits.perAddress) closeOldest(own);
    else if (count >= limits.total) {
      closeOldest([...open.values()].reduce((most, sockets) => (sockets.size > most.size ? sockets : most)));
    }
    own.add(socket);
    open.set(address, own);
    count++;
    socket.once('close', () => forget(socket, own));
  });
  return () => closed;
}
