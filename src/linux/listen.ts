/**
 * A TCP socket that listens in another network namespace. Connections accepted from it belong to that namespace too, so
 * a server there needs no process there. Node takes over the descriptor (`server.listen({ fd })`).
 */
import { bind, close, listen, SystemError, setSocketOption, socket } from './ffi.ts';
import { inNamespace } from './netns.ts';
import { AF_INET, socketAddress } from './socket-address.ts';

/** SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK (socket(2)). */
const STREAM = 1 | 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const BACKLOG = 511;

/**
 * @param path of the namespace, as /run/netns/NAME
 * @param address IPv4, one of that namespace's own
 * @returns the descriptor, to be closed by the caller
 * @throws SystemError if the namespace cannot be entered or the address is in use
 */
export function listenInNamespace(path: string, address: string, port: number): number {
  return inNamespace(path, () => {
    const where = `${address}:${port}`;
    const fd = socket(AF_INET, STREAM, 0);
    if (fd < 0) throw new SystemError('socket', where);
    const on = Buffer.alloc(4);
    on.writeInt32LE(1);
    const name = socketAddress(address, port);
    setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, on, on.length);
    if (bind(fd, name, name.length) !== 0 || listen(fd, BACKLOG) !== 0) {
      const error = new SystemError('listen', where);
      close(fd);
      throw error;
    }
    return fd;
  });
}
