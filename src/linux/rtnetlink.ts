/**
 * Configures devices without starting a process: address, MTU, routes by rtnetlink messages, each acknowledged. About
 * 20 µs per message, where an `ip` process costs 3 to 10 ms and blocks the calling thread.
 *
 * linux include/uapi/linux/netlink.h (nlmsghdr, nlattr), rtnetlink.h, if_link.h, if_addr.h. IPv4 only.
 */
import {
  close,
  ioctl,
  type Mapping,
  mapPrivate,
  munmap,
  NETLINK_SOCKET,
  read,
  SystemError,
  socket,
  write,
} from './ffi.ts';

const SIOCGIFMTU = 0x8921;
const SIOCGIFINDEX = 0x8933;
const AF_INET = 2;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;
const RTM_DELQDISC = 37;
const NLM_F_REQUEST = 0x1;
const NLM_F_REQUEST_ACK = 0x5;
const NLM_F_REPLACE_CREATE = 0x500;
const NLMSG_ERROR = 2;
const HEADER_BYTES = 16;
const BUFFER_BYTES = 8192;

const IFF_UP = 0x1;
const IFF_NOARP = 0x80;
const IFLA_ADDRESS = 1;
const IFLA_MTU = 4;
const IFLA_QDISC = 6;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
const IFLA_GSO_MAX_SEGS = 40;
const IFLA_GSO_MAX_SIZE = 41;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;

const TABLE_MAIN = 254;
const PROTOCOL_BOOT = 3;
const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;
const TYPE_UNICAST = 1;
/** linux include/uapi/linux/rtnetlink.h: struct ifinfomsg. */
const IFINFO_BYTES = 16;
/** linux include/uapi/linux/pkt_sched.h: TC_H_ROOT. */
const QDISC_ROOT = 0xffffffff;

/** Changes to a device; omitted fields stay as they are. */
export interface LinkChange {
  /** aa:bb:cc:dd:ee:ff */
  readonly mac?: string;
  readonly mtu?: number;
  /** Frames that each queue can hold. */
  readonly queueLength?: number;
  /** Largest super-packet handed to the device, bytes with headers. */
  readonly gsoMaxBytes?: number;
  /** The most segments of such a super-packet. */
  readonly gsoMaxSegments?: number;
  readonly up?: boolean;
  /** Whether ARP is used on it. */
  readonly arp?: boolean;
  /** Index of the bridge or bond it belongs to; 0: none. */
  readonly master?: number;
}

/** A device as it is. */
export interface LinkState {
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly arp: boolean;
  /** Index of the bridge or bond it belongs to; 0: none. */
  readonly master: number;
  /** Kind of the queueing discipline at its root: `mq`, `pfifo_fast`, `tbf`, … */
  readonly qdisc: string;
  /** Frames that each queue can hold. */
  readonly queueLength: number;
}

/** Devices, addresses and routes of the network namespace in which the socket was created. */
export class RouteSocket {
  private readonly fd: number;
  private readonly memory: Mapping;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private end = 0;

  /** @throws SystemError */
  constructor() {
    this.fd = socket(...NETLINK_SOCKET);
    if (this.fd < 0) throw new SystemError('socket', 'AF_NETLINK');
    this.memory = mapPrivate(BUFFER_BYTES);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
  }

  /** Index of a device. @throws SystemError if there is none of that name */
  linkIndex(name: string): number {
    return this.ask(SIOCGIFINDEX, name);
  }

  /** Index of a device; 0 if there is none of that name. */
  findLink(name: string): number {
    try {
      return this.linkIndex(name);
    } catch {
      return 0;
    }
  }

  /** MTU of a device, bytes. @throws SystemError if there is none of that name */
  linkMtu(name: string): number {
    return this.ask(SIOCGIFMTU, name);
  }

  /** A device as it is now. About 20 µs. @throws SystemError if there is none with that index */
  readLink(index: number): LinkState {
    const { view, bytes } = this;
    this.begin(RTM_GETLINK, 0, IFINFO_BYTES);
    view.setUint16(6, NLM_F_REQUEST, true);
    view.setInt32(HEADER_BYTES + 4, index, true);
    const got = this.exchange(`device ${index}`);
    const flags = view.getUint32(HEADER_BYTES + 8, true);
    const [up, arp] = [(flags & IFF_UP) !== 0, (flags & IFF_NOARP) === 0];
    const link = { mac: '', mtu: 0, up, arp, master: 0, qdisc: '', queueLength: 0 };
    for (let at = HEADER_BYTES + IFINFO_BYTES; at + 4 <= got; ) {
      const length = view.getUint16(at, true);
      if (length < 4) break;
      const value = bytes.subarray(at + 4, at + length);
      const type = view.getUint16(at + 2, true);
      if (type === IFLA_ADDRESS)
        link.mac = Buffer.from(value)
          .toString('hex')
          .replace(/(..)(?=.)/g, '$1:');
      else if (type === IFLA_MTU) link.mtu = view.getUint32(at + 4, true);
      else if (type === IFLA_TXQLEN) link.queueLength = view.getUint32(at + 4, true);
      else if (type === IFLA_MASTER) link.master = view.getUint32(at + 4, true);
      else if (type === IFLA_QDISC) link.qdisc = Buffer.from(value).toString('latin1').replace(/\0.*$/s, '');
      at += (length + 3) & ~3;
    }
    return link;
  }

  /** Give a device the kernel's own queueing discipline again. @throws SystemError */
  resetQdisc(index: number): void {
    this.begin(RTM_DELQDISC, 0, 20);
    this.view.setInt32(HEADER_BYTES + 4, index, true);
    this.view.setUint32(HEADER_BYTES + 12, QDISC_ROOT, true);
    this.exchange(`queueing discipline of device ${index}`);
  }

  /** linux include/uapi/linux/if.h: struct ifreq, 16 bytes of name, then the result. */
  private ask(request: number, name: string): number {
    const ifreq = Buffer.alloc(40);
    ifreq.write(name, 0, 15, 'ascii');
    if (ioctl(this.fd, request, ifreq) !== 0) throw new SystemError('device', name);
    return ifreq.readInt32LE(16);
  }

  /** @throws SystemError */
  changeLink(index: number, change: LinkChange): void {
    this.begin(RTM_NEWLINK, 0, 16);
    this.view.setInt32(HEADER_BYTES + 4, index, true);
    const flags = (change.up === true ? IFF_UP : 0) | (change.arp === false ? IFF_NOARP : 0);
    const mask = (change.up !== undefined ? IFF_UP : 0) | (change.arp !== undefined ? IFF_NOARP : 0);
    this.view.setUint32(HEADER_BYTES + 8, flags, true);
    this.view.setUint32(HEADER_BYTES + 12, mask, true);
    if (change.mac !== undefined)
      this.attribute(
        IFLA_ADDRESS,
        change.mac.split(':').map((byte) => Number.parseInt(byte, 16)),
      );
    if (change.mtu !== undefined) this.number(IFLA_MTU, change.mtu);
    if (change.queueLength !== undefined) this.number(IFLA_TXQLEN, change.queueLength);
    if (change.gsoMaxSegments !== undefined) this.number(IFLA_GSO_MAX_SEGS, change.gsoMaxSegments);
    if (change.gsoMaxBytes !== undefined) this.number(IFLA_GSO_MAX_SIZE, change.gsoMaxBytes);
    if (change.master !== undefined) this.number(IFLA_MASTER, change.master);
    this.exchange(`device ${index}`);
  }

  /** Give a device an address; succeeds if it already has it. @throws SystemError */
  setAddress(index: number, ip: string, prefix: number): void {
    this.begin(RTM_NEWADDR, NLM_F_REPLACE_CREATE, 8);
    this.bytes.set([AF_INET, prefix, 0, SCOPE_UNIVERSE], HEADER_BYTES);
    this.view.setInt32(HEADER_BYTES + 4, index, true);
    this.attribute(IFA_LOCAL, octets(ip));
    this.attribute(IFA_ADDRESS, octets(ip));
    this.exchange(`address ${ip}/${prefix}`);
  }

  /**
   * Add or replace a route of the main table. @param gateway omit it for a directly connected network. @throws
   * SystemError
   */
  setRoute(network: string, prefix: number, index: number, gateway?: string): void {
    this.begin(RTM_NEWROUTE, NLM_F_REPLACE_CREATE, 12);
    const scope = gateway === undefined ? SCOPE_LINK : SCOPE_UNIVERSE;
    this.bytes.set([AF_INET, prefix, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, TYPE_UNICAST], HEADER_BYTES);
    if (prefix > 0) this.attribute(RTA_DST, octets(network));
    if (gateway !== undefined) this.attribute(RTA_GATEWAY, octets(gateway));
    this.number(RTA_OIF, index);
    this.exchange(`route ${network}/${prefix}${gateway === undefined ? '' : ` via ${gateway}`}`);
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }

  /** Start a message: its header, and `fixedBytes` of zeroed body. */
  private begin(type: number, flags: number, fixedBytes: number): void {
    this.bytes.fill(0, 0, HEADER_BYTES + fixedBytes);
    this.view.setUint16(4, type, true);
    this.view.setUint16(6, NLM_F_REQUEST_ACK | flags, true);
    this.end = HEADER_BYTES + fixedBytes;
  }

  private attribute(type: number, value: readonly number[]): void {
    const { view, bytes, end } = this;
    view.setUint16(end, 4 + value.length, true);
    view.setUint16(end + 2, type, true);
    bytes.fill(0, end + 4, end + 12);
    bytes.set(value, end + 4);
    this.end = end + 4 + ((value.length + 3) & ~3);
  }

  private number(type: number, value: number): void {
    this.attribute(type, [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24]);
  }

  /** Send the message and read the kernel's reply. @returns its length. @throws SystemError with the kernel's error number */
  private exchange(subject: string): number {
    const { view, memory, fd, end } = this;
    view.setUint32(0, end, true);
    if (write(fd, memory.address, end) !== end) throw new SystemError('rtnetlink', subject);
    const got = read(fd, memory.address, BUFFER_BYTES);
    if (got < HEADER_BYTES + 4) throw new SystemError('rtnetlink', subject);
    // NLMSG_ERROR carries the result: minus the error number, 0 for success.
    const number = view.getUint16(4, true) === NLMSG_ERROR ? -view.getInt32(HEADER_BYTES, true) : 0;
    if (number !== 0) throw new SystemError('rtnetlink', subject, number);
    return Math.min(got, view.getUint32(0, true));
  }
}

function octets(ip: string): number[] {
  return ip.split('.').map(Number);
}
