/**
 * Dumps of rtnetlink: the IPv4 rules, routes, addresses or neighbours of a network namespace, without starting a process.
 *
 * linux include/uapi/linux/netlink.h (nlmsghdr), rtnetlink.h (RTM_*), fib_rules.h, neighbour.h.
 */
import { close, mapPrivate, munmap, NETLINK_SOCKET, read, SystemError, socket, write } from './ffi.ts';

export const AF_INET = 2;
/** What can be dumped (rtnetlink.h). */
export const Dumped = { ADDRESSES: 22, ROUTES: 26, NEIGHBOURS: 30, RULES: 34 } as const;
export type Dumped = (typeof Dumped)[keyof typeof Dumped];

const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;
/** nlmsghdr, then a struct of 12 bytes whose first is the family (rtmsg and fib_rule_hdr alike). */
const REQUEST_BYTES: number = HEADER_BYTES + 12;
const BUFFER_BYTES = 65536;

/** Reads from the network namespace in which it was created. */
export class NetlinkDump {
  private readonly fd: number;
  private readonly memory = mapPrivate(BUFFER_BYTES);
  /** The messages, as `each` finds them. */
  readonly bytes: Uint8Array = new Uint8Array(this.memory.buffer);
  readonly view: DataView = new DataView(this.memory.buffer);

  /** @throws SystemError */
  constructor() {
    this.fd = socket(...NETLINK_SOCKET);
    if (this.fd < 0) throw new SystemError('socket', 'AF_NETLINK');
  }

  /**
   * Dump what is there now.
   * @param each called with the first byte of a message's body and the end of the message
   * @throws SystemError
   */
  each(what: Dumped, each: (body: number, end: number) => void): void {
    const { view, bytes, memory, fd } = this;
    bytes.fill(0, 0, REQUEST_BYTES);
    view.setUint32(0, REQUEST_BYTES, true);
    view.setUint16(4, what, true);
    view.setUint16(6, NLM_F_REQUEST_DUMP, true);
    view.setUint8(HEADER_BYTES, AF_INET);
    if (write(fd, memory.address, REQUEST_BYTES) !== REQUEST_BYTES) throw new SystemError('write', 'netlink');
    for (;;) {
      const got = read(fd, memory.address, BUFFER_BYTES);
      if (got < HEADER_BYTES) throw new SystemError('read', 'netlink');
      for (let at = 0; at + HEADER_BYTES <= got; ) {
        const length = view.getUint32(at, true);
        const kind = view.getUint16(at + 4, true);
        if (kind === NLMSG_DONE || kind === NLMSG_ERROR || length < HEADER_BYTES) return;
        each(at + HEADER_BYTES, Math.min(at + length, got));
        at += (length + 3) & ~3;
      }
    }
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }
}
