/**
 * Reads the IPv4 addresses, routes and neighbours of a network namespace: one rtnetlink dump each, without starting a
 * process.
 *
 * linux include/uapi/linux/rtnetlink.h (struct rtmsg, RTA_*, struct rtnexthop), if_addr.h (struct ifaddrmsg, IFA_*),
 * neighbour.h (struct ndmsg, NUD_*).
 */
import { close, mapPrivate, munmap, NETLINK_SOCKET, read, SystemError, socket, write } from './ffi.ts';

const AF_INET = 2;
const RTM_GETADDR = 22;
const RTM_GETROUTE = 26;
const RTM_GETNEIGH = 30;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const HEADER_BYTES = 16;
const REQUEST_BYTES: number = HEADER_BYTES + 12;
const BUFFER_BYTES = 65536;

const ADDRESS_BODY = 8;
const IFA_LOCAL = 2;
const IFA_F_SECONDARY = 1;

const NEIGHBOUR_BODY = 12;
const NDA_DST = 1;
/** States of a neighbour whose MAC is known: NUD_REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT. */
const NUD_VALID = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80;

const ROUTE_BODY = 12;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
/** struct rtnexthop: length, flags, hops, device; then attributes. */
const NEXT_HOP_BYTES = 8;

/** Routing tables that every namespace has (rtnetlink.h, enum rt_class_t). */
export const MAIN_TABLE = 254;
export const DEFAULT_TABLE = 253;
export const LOCAL_TABLE = 255;
/** Types of routes (rtnetlink.h). */
export const RouteType = { UNICAST: 1, LOCAL: 2, BROADCAST: 3 } as const;

/** An address of a device. */
export interface DeviceAddress {
  readonly device: number;
  /** As a 32-bit word. */
  readonly address: number;
  readonly prefix: number;
  /** rtnetlink.h enum rt_scope_t: 0 is universe, 253 link, 254 host. */
  readonly scope: number;
  readonly secondary: boolean;
}

/** A route, with the first of its next hops. */
export interface KernelRoute {
  readonly table: number;
  readonly type: number;
  /** As a 32-bit word. */
  readonly network: number;
  readonly prefix: number;
  /** Lower is preferred among routes to the same network. */
  readonly priority: number;
  /** Index of the device; 0 if the route has none. */
  readonly device: number;
  /** As a 32-bit word; 0 if the route has none. */
  readonly gateway: number;
  /**
   * Preferred source for packets of the node's own sockets (RTA_PREFSRC), as a 32-bit word; 0 if the route has none.
   */
  readonly source: number;
  /** True if the route has an MTU or other metrics (RTA_METRICS). */
  readonly metrics: boolean;
}

/** Reads from the network namespace in which it was created. */
export class RoutingTable {
  private readonly fd: number;
  private readonly memory = mapPrivate(BUFFER_BYTES);
  private readonly view = new DataView(this.memory.buffer);

  /** @throws SystemError */
  constructor() {
    this.fd = socket(...NETLINK_SOCKET);
    if (this.fd < 0) throw new SystemError('socket', 'AF_NETLINK');
  }

  /**
   * Addresses of all devices, in the kernel's order: a device's primary addresses before its secondary ones.
   * @throws SystemError
   */
  addresses(): DeviceAddress[] {
    const found: DeviceAddress[] = [];
    this.dump(RTM_GETADDR, (body, end) => {
      const { view } = this;
      const address = this.attribute(body + ADDRESS_BODY, end, IFA_LOCAL);
      if (view.getUint8(body) !== AF_INET || address < 0) return;
      found.push({
        device: view.getUint32(body + 4, true),
        address: view.getInt32(address),
        prefix: view.getUint8(body + 1),
        scope: view.getUint8(body + 3),
        secondary: (view.getUint8(body + 2) & IFA_F_SECONDARY) !== 0,
      });
    });
    return found;
  }

  /** Neighbours of a device whose MAC is known, as 32-bit words. @throws SystemError */
  neighbours(device: number): number[] {
    const found: number[] = [];
    this.dump(RTM_GETNEIGH, (body, end) => {
      const { view } = this;
      const address = this.attribute(body + NEIGHBOUR_BODY, end, NDA_DST);
      if (view.getUint8(body) !== AF_INET || view.getInt32(body + 4, true) !== device || address < 0) return;
      if ((view.getUint16(body + 8, true) & NUD_VALID) !== 0) found.push(view.getInt32(address));
    });
    return found;
  }

  /** The routes of all tables. @throws SystemError */
  routes(): KernelRoute[] {
    const found: KernelRoute[] = [];
    this.dump(RTM_GETROUTE, (body, end) => {
      const { view } = this;
      if (view.getUint8(body) !== AF_INET) return;
      const attributes = body + ROUTE_BODY;
      const big = (type: number): number => {
        const at = this.attribute(attributes, end, type);
        return at < 0 ? 0 : view.getInt32(at);
      };
      const word = (type: number, otherwise: number): number => {
        const at = this.attribute(attributes, end, type);
        return at < 0 ? otherwise : view.getUint32(at, true);
      };
      const hop = this.attribute(attributes, end, RTA_MULTIPATH);
      const hopGateway =
        hop < 0 ? -1 : this.attribute(hop + NEXT_HOP_BYTES, hop + view.getUint16(hop, true), RTA_GATEWAY);
      found.push({
        table: word(RTA_TABLE, view.getUint8(body + 4)),
        type: view.getUint8(body + 7),
        network: big(RTA_DST),
        prefix: view.getUint8(body + 1),
        priority: word(RTA_PRIORITY, 0),
        device: hop < 0 ? word(RTA_OIF, 0) : view.getUint32(hop + 4, true),
        source: big(RTA_PREFSRC),
        metrics: this.attribute(attributes, end, RTA_METRICS) >= 0,
        gateway: hopGateway < 0 ? big(RTA_GATEWAY) : view.getInt32(hopGateway),
      });
    });
    return found;
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }

  /** Offset of the value of an attribute; -1 if the attribute is missing. */
  private attribute(from: number, end: number, type: number): number {
    const { view } = this;
    for (let at = from; at + 4 <= end; ) {
      const bytes = view.getUint16(at, true);
      if (bytes < 4) return -1;
      if (view.getUint16(at + 2, true) === type) return at + 4;
      at += (bytes + 3) & ~3;
    }
    return -1;
  }

  /** @param each called with the first byte of a message's body and the end of the message */
  private dump(type: number, each: (body: number, end: number) => void): void {
    const { view, memory, fd } = this;
    new Uint8Array(memory.buffer).fill(0, 0, REQUEST_BYTES);
    view.setUint32(0, REQUEST_BYTES, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST_DUMP, true);
    view.setUint8(HEADER_BYTES, AF_INET);
    if (write(fd, memory.address, REQUEST_BYTES) !== REQUEST_BYTES) throw new SystemError('write', 'netlink');
    for (;;) {
      const got = read(fd, memory.address, BUFFER_BYTES);
      if (got < HEADER_BYTES) throw new SystemError('read', 'netlink');
      for (let at = 0; at + HEADER_BYTES <= got; ) {
        const bytes = view.getUint32(at, true);
        const kind = view.getUint16(at + 4, true);
        if (kind === NLMSG_DONE || kind === NLMSG_ERROR || bytes < HEADER_BYTES) return;
        each(at + HEADER_BYTES, Math.min(at + bytes, got));
        at += (bytes + 3) & ~3;
      }
    }
  }
}
