/** A TCP connection from another network namespace; the socket keeps belonging to that namespace. */
import { Socket } from 'node:net';
import { close, connect, EINPROGRESS, errno, SystemError, socket } from './ffi.ts';
import { inNamespace } from './netns.ts';
import { familyOf, socketAddress } from './socket-address.ts';

/** SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK (socket(2)). */
const STREAM = 1 | 0o2000000 | 0o4000;

/**
 * @param path of the namespace, as /run/netns/NAME
 * @param address an IP address
 * @returns a socket that is connected or connecting; a later failure is emitted as 'error'
 * @throws SystemError if the namespace cannot be entered or the peer refuses at once
 */
export function connectInNamespace(path: string, address: string, port: number): Socket {
  const fd = inNamespace(path, () => {
    const where = `${address}:${port}`;
    const made = socket(familyOf(address), STREAM, 0);
    if (made < 0) throw new SystemError('socket', where);
    const name = socketAddress(address, port);
    if (connect(made, name, name.length) === 0 || errno() === EINPROGRESS) return made;
    const error = new SystemError('connect', where);
    close(made);
    throw error;
  });
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
}

/** The addresses `kubelet` tries for "localhost". */
const LOOPBACKS = ['127.0.0.1', '::1'];

/**
 * A connection to a program that listens on the loopback addresses of a namespace, or on all of its addresses.
 * @throws SystemError if neither address can be tried; see connectInNamespace
 */
export function connectToLoopback(path: string, port: number): Socket {
  let failure: unknown;
  for (const address of LOOPBACKS) {
    try {
      return connectInNamespace(path, address, port);
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}
