/**
 * The kernel's notifications of changes to a namespace's devices, neighbours, IPv4 addresses, routes and rules, or to
 * its nftables. Their contents are not used: when too many arrive at once some are lost (ENOBUFS), while a dump taken
 * afterwards is complete.
 *
 * The socket is read four times a second, half a microsecond each: neither Node nor koffi can wait for a descriptor
 * of this kind on the main thread, and a thread of its own would cost more.
 *
 * linux include/uapi/linux/rtnetlink.h (RTMGRP_*), netfilter/nfnetlink.h (NFNLGRP_NFTABLES).
 */
import {
  bind,
  close,
  EINTR,
  ENOBUFS,
  errno,
  mapPrivate,
  munmap,
  NETLINK_SOCKET,
  read,
  SystemError,
  socket,
} from './ffi.ts';

const RTMGRP_LINK = 0x1;
const RTMGRP_NEIGH = 0x4;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
const RTMGRP_IPV4_RULE = 0x80;
/** A netlink subscription: the protocol of the socket, and its multicast groups as bits. */
export interface Announcements {
  readonly protocol: number;
  readonly groups: number;
}
/** NETLINK_NETFILTER, group 7. */
export const NFTABLES: Announcements = { protocol: 12, groups: 1 << 6 };
const GROUPS = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE;
/** NETLINK_ROUTE. */
export const ROUTING: Announcements = { protocol: 0, groups: GROUPS };
const AF_NETLINK = 16;
const SOCK_NONBLOCK = 0o4000;
const BUFFER_BYTES = 65536;
const PERIOD_MS = 250;

/** Calls back after changes in the network namespace in which it was created. */
export class KernelEvents {
  private readonly fd: number;
  private readonly memory = mapPrivate(BUFFER_BYTES);
  private readonly timer: NodeJS.Timeout;
  private readonly onChange: () => void;

  /**
   * @param onChange called after one or more announcements
   * @throws SystemError
   */
  constructor(what: Announcements, onChange: () => void) {
    this.onChange = onChange;
    const [domain, type] = NETLINK_SOCKET;
    this.fd = socket(domain, type | SOCK_NONBLOCK, what.protocol);
    if (this.fd < 0) throw new SystemError('socket', 'AF_NETLINK');
    // struct sockaddr_nl: family, padding, port (0: the kernel chooses one), groups.
    const name = Buffer.alloc(12);
    name.writeUInt16LE(AF_NETLINK, 0);
    name.writeUInt32LE(what.groups, 8);
    if (bind(this.fd, name, name.length) !== 0) {
      const error = new SystemError('bind', 'AF_NETLINK');
      this.release();
      throw error;
    }
    this.timer = setInterval(() => this.take(), PERIOD_MS);
  }

  private take(): void {
    let announced = false;
    for (;;) {
      const bytes = read(this.fd, this.memory.address, BUFFER_BYTES);
      if (bytes < 0) {
        const number = errno();
        if (number !== EINTR && number !== ENOBUFS) break;
      }
      announced = true;
    }
    if (announced) this.onChange();
  }

  close(): void {
    clearInterval(this.timer);
    this.release();
  }

  private release(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }
}
