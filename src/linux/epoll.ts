/**
 * epoll over numeric memory: waiting allocates nothing, and the ready keys are read from an Int32Array.
 *
 * struct epoll_event is packed on x86-64 (12 bytes: events, then 64 bits of data) and padded elsewhere (16 bytes);
 * linux include/uapi/linux/eventpoll.h.
 */
import { close, epollControl, epollCreate, epollWait, type Mapping, mapPrivate, munmap, SystemError } from './ffi.ts';

const EPOLL_CLOEXEC = 0o2000000;
const ADD = 1;
const DELETE = 2;
const EPOLLIN = 1;

const PACKED = process.arch === 'x64';
const EVENT_BYTES = PACKED ? 12 : 16;
const DATA_AT = PACKED ? 4 : 8;

/** An epoll instance that polls for input only. */
export class Epoll {
  /** Itself readable while one of its descriptors is (epoll(7)). */
  readonly fd: number;
  private readonly max: number;
  private readonly memory: Mapping;
  private readonly view: DataView;

  /** @param max events returned per wait */
  constructor(max: number) {
    this.fd = epollCreate(EPOLL_CLOEXEC);
    if (this.fd < 0) throw new SystemError('epoll_create1', '');
    this.max = max;
    this.memory = mapPrivate(max * EVENT_BYTES);
    this.view = new DataView(this.memory.buffer);
  }

  /** Poll a file descriptor for input; `keyAt` returns its `key` (int32). @throws SystemError */
  add(fd: number, key: number): void {
    const event = Buffer.alloc(16);
    event.writeUInt32LE(EPOLLIN, 0);
    event.writeInt32LE(key, DATA_AT);
    if (epollControl(this.fd, ADD, fd, event) !== 0) throw new SystemError('epoll_ctl', `fd ${fd}`);
  }

  /** Stop polling a file descriptor, if it was polled. */
  remove(fd: number): void {
    epollControl(this.fd, DELETE, fd, null);
  }

  /** Wait for input. @returns number of ready descriptors, 0 after `timeoutMs`; an interrupted wait counts as 0 */
  wait(timeoutMs: number): number {
    const ready = epollWait(this.fd, this.memory.address, this.max, timeoutMs);
    return ready < 0 ? 0 : ready;
  }

  /** Key of the i-th ready descriptor of the last wait. */
  keyAt(i: number): number {
    return this.view.getInt32(i * EVENT_BYTES + DATA_AT, true);
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }
}
