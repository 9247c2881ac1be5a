/**
 * Detects changes of a namespace's IPv4 rules, routes and addresses by comparing the kernel's netlink dumps, without
 * starting a process.
 *
 * linux include/uapi/linux/netlink.h (nlmsghdr), rtnetlink.h (RTM_GETROUTE, struct rtmsg), fib_rules.h.
 */
import { createHash } from 'node:crypto';
import { close, mapPrivate, munmap, NETLINK_SOCKET, read, SystemError, socket, write } from './ffi.ts';

const AF_INET = 2;
const RTM_GETADDR = 22;
const RTM_GETROUTE = 26;
const RTM_GETRULE = 34;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;
/** nlmsghdr, then a struct of 12 bytes whose first is the family (rtmsg and fib_rule_hdr alike). */
const REQUEST_BYTES: number = HEADER_BYTES + 12;
const BUFFER_BYTES = 65536;
const MAX_READS = 64;

/** Reads the rules, routes and addresses of the namespace in which it was created. */
export class RoutingWatch {
  private readonly fd: number;
  private readonly memory = mapPrivate(BUFFER_BYTES);
  private readonly bytes = new Uint8Array(this.memory.buffer);
  private readonly view = new DataView(this.memory.buffer);

  /** @throws SystemError */
  constructor() {
    this.fd = socket(...NETLINK_SOCKET);
    if (this.fd < 0) throw new SystemError('socket', 'AF_NETLINK');
  }

  /** A text that changes only if rules, routes or addresses do. Takes about 50 µs. @throws SystemError */
  fingerprint(): string {
    const hash = createHash('sha1');
    this.dump(RTM_GETRULE, hash);
    this.dump(RTM_GETROUTE, hash);
    this.dump(RTM_GETADDR, hash);
    return hash.digest('base64');
  }

  private dump(type: number, hash: ReturnType<typeof createHash>): void {
    const { view, bytes } = this;
    bytes.fill(0, 0, REQUEST_BYTES);
    view.setUint32(0, REQUEST_BYTES, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST_DUMP, true);
    view.setUint8(HEADER_BYTES, AF_INET);
    if (write(this.fd, this.memory.address, REQUEST_BYTES) !== REQUEST_BYTES) throw new SystemError('write', 'netlink');
    for (let turn = 0; turn < MAX_READS; turn++) {
      const got = read(this.fd, this.memory.address, BUFFER_BYTES);
      if (got < HEADER_BYTES) throw new SystemError('read', 'netlink');
      for (let at = 0; at + HEADER_BYTES <= got; ) {
        const length = view.getUint32(at, true);
        const kind = view.getUint16(at + 4, true);
        if (kind === NLMSG_DONE || kind === NLMSG_ERROR || length < HEADER_BYTES) return;
        // Sequence and port numbers differ from dump to dump; the message behind them does not.
        hash.update(bytes.subarray(at + HEADER_BYTES, Math.min(at + length, got)));
        at += (length + 3) & ~3;
      }
    }
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }
}
