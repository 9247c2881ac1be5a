/**
 * Unix sockets whose messages carry file descriptors (SCM_RIGHTS, unix(7)), which Node's own sockets cannot. Every call
 * blocks its thread, for at most the time limit of the socket.
 *
 * A message is its length as a 32-bit word, then JSON. Its descriptors are sent with its first byte.
 *
 * struct msghdr, iovec and cmsghdr in their 64-bit layout: linux include/linux/socket.h, include/uapi/linux/uio.h.
 */
import {
  acceptConnection,
  bind,
  close,
  connect,
  EAGAIN,
  EINTR,
  errno,
  listen,
  mapPrivate,
  read,
  receiveMessage,
  SystemError,
  sendMessage,
  setSocketOption,
  socket,
} from './ffi.ts';
import { AF_UNIX, unixAddress } from './socket-address.ts';

/** SOCK_STREAM | SOCK_CLOEXEC (socket(2)). */
const STREAM = 1 | 0o2000000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SCM_RIGHTS = 1;
const MSG_WAITALL = 0x100;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
/** Most descriptors of one message (linux include/net/scm.h, SCM_MAX_FD). */
const MAX_DESCRIPTORS = 253;

/** Offsets in the memory of a socket. */
const HEADER_AT = 0;
const IOVEC_AT = 64;
const CONTROL_AT = 128;
const CONTROL_DATA_AT: number = CONTROL_AT + 16;
const BODY_AT = 2048;
const LENGTH_BYTES = 4;
const BODY_BYTES: number = 62 * 1024;

/** A message that was received. */
export interface Received {
  readonly message: unknown;
  /** The receiver closes them. */
  readonly fds: readonly number[];
}

/** One end of a connection. */
export class DescriptorSocket {
  readonly fd: number;
  private readonly memory = mapPrivate(BODY_AT + LENGTH_BYTES + BODY_BYTES);
  private readonly view = new DataView(this.memory.buffer);
  private readonly bytes = Buffer.from(this.memory.buffer);

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Send a message. @throws SystemError if the other end is gone, or does not read for longer than the time limit */
  send(message: object, fds: readonly number[] = []): void {
    if (fds.length > MAX_DESCRIPTORS) throw new RangeError(`${fds.length} descriptors in one message`);
    const { view } = this;
    const length = this.bytes.write(JSON.stringify(message), BODY_AT + LENGTH_BYTES);
    view.setUint32(BODY_AT, length, true);
    const bytes = LENGTH_BYTES + length;
    this.describe(bytes, fds.length === 0 ? 0 : 16 + 4 * fds.length);
    view.setBigUint64(CONTROL_AT, BigInt(16 + 4 * fds.length), true);
    view.setInt32(CONTROL_AT + 8, SOL_SOCKET, true);
    view.setInt32(CONTROL_AT + 12, SCM_RIGHTS, true);
    for (const [i, fd] of fds.entries()) view.setInt32(CONTROL_DATA_AT + 4 * i, fd, true);
    const sent = sendMessage(this.fd, this.memory.address, MSG_NOSIGNAL);
    if (sent !== bytes) throw new SystemError('sendmsg', 'unix socket', sent < 0 ? errno() : EAGAIN);
  }

  /**
   * Receive the next message.
   * @returns undefined if the other end has closed the connection, or its process has ended
   * @throws SystemError with EAGAIN if nothing arrives within the time limit
   */
  receive(): Received | undefined {
    const { view } = this;
    const fds: number[] = [];
    let got = this.receiveSome(fds);
    while (got < 0 && errno() === EINTR) got = this.receiveSome(fds);
    if (got < 0 && errno() === EAGAIN) throw new SystemError('recvmsg', 'unix socket');
    // ECONNRESET: the other end closed with something unread.
    if (got !== LENGTH_BYTES) return undefined;
    const length = view.getUint32(BODY_AT, true);
    if (length > BODY_BYTES) return undefined;
    for (let at = 0; at < length; ) {
      const more = read(this.fd, this.memory.address + BODY_AT + LENGTH_BYTES + at, length - at);
      if (more < 0 && errno() === EINTR) continue;
      if (more <= 0) return undefined;
      at += more;
    }
    const text = this.bytes.toString('utf8', BODY_AT + LENGTH_BYTES, BODY_AT + LENGTH_BYTES + length);
    return { message: JSON.parse(text), fds };
  }

  /** Receive the length of a message, with its descriptors. */
  private receiveSome(fds: number[]): number {
    const { view } = this;
    this.describe(LENGTH_BYTES, 16 + 4 * MAX_DESCRIPTORS);
    const got = receiveMessage(this.fd, this.memory.address, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    if (got <= 0 || view.getBigUint64(HEADER_AT + 40, true) === 0n) return got;
    const end = CONTROL_AT + Number(view.getBigUint64(CONTROL_AT, true));
    for (let at = CONTROL_DATA_AT; at < end; at += 4) fds.push(view.getInt32(at, true));
    return got;
  }

  /** Fill in msghdr and iovec. */
  private describe(bytes: number, controlBytes: number): void {
    const { view, memory } = this;
    const address = (at: number): bigint => BigInt(memory.address + at);
    view.setBigUint64(HEADER_AT, 0n, true);
    view.setBigUint64(HEADER_AT + 8, 0n, true);
    view.setBigUint64(HEADER_AT + 16, address(IOVEC_AT), true);
    view.setBigUint64(HEADER_AT + 24, 1n, true);
    view.setBigUint64(HEADER_AT + 32, controlBytes === 0 ? 0n : address(CONTROL_AT), true);
    view.setBigUint64(HEADER_AT + 40, BigInt(controlBytes), true);
    view.setBigUint64(HEADER_AT + 48, 0n, true);
    view.setBigUint64(IOVEC_AT, address(BODY_AT), true);
    view.setBigUint64(IOVEC_AT + 8, BigInt(bytes), true);
  }

  close(): void {
    close(this.fd);
  }
}

function openSocket(path: string, use: (fd: number, name: Buffer) => string | undefined): number {
  const fd = socket(AF_UNIX, STREAM, 0);
  if (fd < 0) throw new SystemError('socket', path);
  const failed = use(fd, unixAddress(path));
  if (failed === undefined) return fd;
  const error = new SystemError(failed, path);
  close(fd);
  throw error;
}

/** A listening socket at a path that does not exist. @throws SystemError */
export function listenAt(path: string): number {
  return openSocket(path, (fd, name) => {
    if (bind(fd, name, name.length) !== 0) return 'bind';
    return listen(fd, 4) === 0 ? undefined : 'listen';
  });
}

/** Wait for a connection. @returns undefined if none comes within the time limit of the listening socket */
export function acceptFrom(listening: number): DescriptorSocket | undefined {
  const fd = acceptConnection(listening, 0, 0, SOCK_CLOEXEC);
  return fd < 0 ? undefined : new DescriptorSocket(fd);
}

/** Connect to a listening socket. @throws SystemError */
export function connectTo(path: string, timeoutMs: number): DescriptorSocket {
  const fd = openSocket(path, (made, name) => {
    limitTime(made, timeoutMs);
    return connect(made, name, name.length) === 0 ? undefined : 'connect';
  });
  return new DescriptorSocket(fd);
}

/** Set how long a call may block; 0: without limit. */
export function limitTime(fd: number, timeoutMs: number): void {
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(Math.trunc(timeoutMs / 1000)), 0);
  timeval.writeBigInt64LE(BigInt((timeoutMs % 1000) * 1000), 8);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) setSocketOption(fd, SOL_SOCKET, option, timeval, timeval.length);
}

/** Puts messages together from the bytes of a connection that Node reads; descriptors are lost. */
export class MessageReader {
  private rest: Buffer = Buffer.alloc(0);

  /** @returns the messages that are complete */
  push(bytes: Buffer): unknown[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const messages: unknown[] = [];
    for (;;) {
      const end = this.rest.length < LENGTH_BYTES ? Number.POSITIVE_INFINITY : LENGTH_BYTES + this.rest.readUInt32LE(0);
      if (this.rest.length < end) return messages;
      messages.push(JSON.parse(this.rest.toString('utf8', LENGTH_BYTES, end)));
      this.rest = this.rest.subarray(end);
    }
  }
}
