/**
 * The IPv4 addresses, routes, rules and neighbours of a network namespace, read by one rtnetlink dump each.
 *
 * linux include/uapi/linux/rtnetlink.h (struct rtmsg, RTA_*, struct rtnexthop), if_addr.h (struct ifaddrmsg, IFA_*),
 * neighbour.h (struct ndmsg, NUD_*), fib_rules.h (struct fib_rule_hdr, FRA_*).
 */
import { AF_INET, Dumped, NetlinkDump } from './netlink-dump.ts';

const ADDRESS_BODY = 8;
const IFA_ADDRESS = 1;
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

const RULE_BODY = 12;
const FR_ACT_TO_TBL = 1;
const FIB_RULE_INVERT = 2;
const FRA_DST = 1;
const FRA_IIFNAME = 3;
const FRA_FWMARK = 10;
const FRA_TUN_ID = 12;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_FWMASK = 16;
const FRA_OIFNAME = 17;
const FRA_L3MDEV = 19;
const FRA_UID_RANGE = 20;
const FRA_IP_PROTO = 22;
const FRA_SPORT_RANGE = 23;
const FRA_DPORT_RANGE = 24;
/** Conditions that only single packets or sockets meet. */
const CONDITIONS: readonly number[] = [
  FRA_TUN_ID,
  FRA_OIFNAME,
  FRA_L3MDEV,
  FRA_UID_RANGE,
  FRA_IP_PROTO,
  FRA_SPORT_RANGE,
  FRA_DPORT_RANGE,
];
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
  /** The other end's address on a point-to-point device, otherwise `address`: the prefix belongs to this one. */
  readonly peer: number;
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

/** A policy routing rule that selects a table. */
export interface KernelRule {
  readonly table: number;
  /** Destination; undefined if it is every one. */
  readonly to: { readonly network: number; readonly prefix: number } | undefined;
  /** Device on which the packet arrived; undefined if it is every one. */
  readonly from: string | undefined;
  readonly mark: number;
  /** Mask for the mark; 0 if the mark does not matter. */
  readonly maskedMark: number;
  /** Routes with a prefix this long or shorter are not used; -1 if all are. */
  readonly suppressed: number;
  /** Does it match what does not meet the conditions? */
  readonly inverted: boolean;
  /** Does it depend on the source, the type of service, a protocol, a port, a user or another device? */
  readonly conditional: boolean;
}

/** Reads from the network namespace in which it was created. */
export class RoutingTable {
  private readonly dump = new NetlinkDump();
  private readonly view: DataView = this.dump.view;

  /**
   * Addresses of all devices, in the kernel's order: a device's primary addresses before its secondary ones.
   * @throws SystemError
   */
  addresses(): DeviceAddress[] {
    const found: DeviceAddress[] = [];
    this.dump.each(Dumped.ADDRESSES, (body, end) => {
      const { view } = this;
      const address = this.attribute(body + ADDRESS_BODY, end, IFA_LOCAL);
      if (view.getUint8(body) !== AF_INET || address < 0) return;
      const peer = this.attribute(body + ADDRESS_BODY, end, IFA_ADDRESS);
      found.push({
        device: view.getUint32(body + 4, true),
        address: view.getInt32(address),
        peer: view.getInt32(peer < 0 ? address : peer),
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
    this.dump.each(Dumped.NEIGHBOURS, (body, end) => {
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
    this.dump.each(Dumped.ROUTES, (body, end) => {
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

  /** The rules that select a table, in ascending preference. @throws SystemError */
  rules(): KernelRule[] {
    const found: KernelRule[] = [];
    this.dump.each(Dumped.RULES, (body, end) => {
      const { view } = this;
      if (view.getUint8(body) !== AF_INET || view.getUint8(body + 7) !== FR_ACT_TO_TBL) return;
      const attributes = body + RULE_BODY;
      const at = (type: number): number => this.attribute(attributes, end, type);
      const word = (type: number, otherwise: number): number =>
        at(type) < 0 ? otherwise : view.getInt32(at(type), true);
      const mark = word(FRA_FWMARK, 0);
      const toPrefix = view.getUint8(body + 1);
      found.push({
        table: word(FRA_TABLE, view.getUint8(body + 4)),
        to: toPrefix === 0 ? undefined : { network: view.getInt32(at(FRA_DST)), prefix: toPrefix },
        from: at(FRA_IIFNAME) < 0 ? undefined : this.text(at(FRA_IIFNAME)),
        mark,
        maskedMark: word(FRA_FWMASK, mark === 0 ? 0 : -1),
        suppressed: word(FRA_SUPPRESS_PREFIXLEN, -1),
        inverted: (view.getUint32(body + 8, true) & FIB_RULE_INVERT) !== 0,
        conditional:
          view.getUint8(body + 2) !== 0 || view.getUint8(body + 3) !== 0 || CONDITIONS.some((type) => at(type) >= 0),
      });
    });
    return found;
  }

  /** The text at an offset, up to its terminating zero. */
  private text(at: number): string {
    const { bytes } = this.dump;
    return String.fromCharCode(...bytes.subarray(at, bytes.indexOf(0, at)));
  }

  close(): void {
    this.dump.close();
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
}
