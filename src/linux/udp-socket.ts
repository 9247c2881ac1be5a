/** A UDP socket with a receive buffer larger than net.core.rmem_max, for `dgram.Socket.bind({ fd })`. */
import { bind, close, SystemError, setSocketOption, socket } from './ffi.ts';
import { familyOf, socketAddress } from './socket-address.ts';

/** SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK (socket(2)). */
const DATAGRAM = 2 | 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
/** Needs CAP_NET_ADMIN; SO_RCVBUF is limited by rmem_max (socket(7)). */
const SO_RCVBUFFORCE = 33;

/** @returns a descriptor that belongs to the caller @throws SystemError if the address cannot be had */
export function boundUdpSocket(address: string, port: number, receiveBytes: number): number {
  const fd = socket(familyOf(address), DATAGRAM, 0);
  if (fd < 0) throw new SystemError('socket', `${address}:${port}`);
  const size = Buffer.alloc(4);
  size.writeInt32LE(receiveBytes);
  // Without the capability the buffer keeps its size.
  setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length);
  const name = socketAddress(address, port);
  if (bind(fd, name, name.length) === 0) return fd;
  const error = new SystemError('bind', `${address}:${port}`);
  close(fd);
  throw error;
}
