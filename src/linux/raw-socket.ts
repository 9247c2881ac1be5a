/**
 * The npm package `raw-socket`, as far as it is used here: an optional dependency with a native part that has to be
 * compiled, and that can be loaded only in a process's main thread.
 *
 * Its `send` passes one packet per turn of the event loop to the kernel, and none while there is something to receive
 * (raw.cc HandleIOEvent). So packets are sent and received by the wrapped socket's own `send` and `recv`, which are
 * plain system calls.
 */
import { createRequire } from 'node:module';
import { EAGAIN, ENOBUFS, errorText } from './ffi.ts';

/** The native socket inside a RawSocket. Both throw an Error with strerror's text. */
interface SocketWrap {
  send(buffer: Buffer, offset: number, length: number, address: string, done: (bytes: number) => void): void;
  recv(buffer: Buffer, done: (buffer: Buffer, bytes: number, source: string) => void): void;
}

/** A raw socket of the package. */
export interface RawSocket {
  readonly wrap: SocketWrap;
  setOption(level: number, option: number, value: number): void;
  on(event: 'message', listener: (packet: Buffer, source: string) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  close(): void;
}

interface RawSocketPackage {
  createSocket(options: { protocol: number; bufferSize: number }): RawSocket;
}

function load(): RawSocketPackage {
  return createRequire(import.meta.url)('raw-socket') as RawSocketPackage;
}

/** The reason the package cannot be used here, in one line; undefined if it can. */
export function whyNoRawSocket(): string | undefined {
  try {
    load();
    return undefined;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'MODULE_NOT_FOUND') return 'it is not installed, or was not compiled';
    if (code === 'ERR_DLOPEN_FAILED') return `what was compiled does not fit Node ${process.version}`;
    return message.split('\n')[0];
  }
}

/** How to install it. */
export const RAW_SOCKET_HINT =
  'in the project: `apt install make g++ python3 && npm install raw-socket@1.8.1 && npm rebuild raw-socket`';

/** linux include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

/**
 * A raw IPv4 socket for an IP protocol, in the calling thread's network namespace.
 * @param bufferBytes largest packet
 * @param queueBytes size of the kernel's queue in each direction, for while the event loop is busy
 * @throws Error
 */
export function openRawSocket(protocol: number, bufferBytes: number, queueBytes: number): RawSocket {
  const why = whyNoRawSocket();
  if (why !== undefined) throw new Error(`the npm package raw-socket is needed: ${why} (${RAW_SOCKET_HINT})`);
  const socket = load().createSocket({ protocol, bufferSize: bufferBytes });
  for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) socket.setOption(SOL_SOCKET, option, queueBytes);
  return socket;
}

/** linux include/uapi/linux/in.h */
const IPPROTO_IP = 0;
const IP_TOS = 1;

/** Second byte of the IPv4 headers that the kernel writes for this socket from now on. */
export function setTypeOfService(socket: RawSocket, service: number): void {
  socket.setOption(IPPROTO_IP, IP_TOS, service);
}

const BUSY: readonly string[] = [errorText(EAGAIN), errorText(ENOBUFS)];

/** Does an error of `send` or `recv` mean "try again later"? */
export function isBusy(error: unknown): boolean {
  return BUSY.includes((error as Error).message);
}
