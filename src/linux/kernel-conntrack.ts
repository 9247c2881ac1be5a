/**
 * The kernel's own connection table (nf_conntrack) of a network namespace, by ctnetlink: list its IPv4 connections, remove
 * one. Used when the node's Services move from kube-proxy to this data plane, and nowhere while packets are forwarded.
 *
 * linux include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h (CTA_*), nf_conntrack_common.h (IPS_*),
 * nf_conntrack_tcp.h (states).
 */
import { close, type Mapping, mapPrivate, munmap, NETLINK_SOCKET, read, SystemError, socket, write } from './ffi.ts';

const NETLINK_NETFILTER = 12;
const AF_INET = 2;
/** NFNL_SUBSYS_CTNETLINK << 8, and the message. */
const CT_GET = 0x101;
const CT_DELETE = 0x102;
const NLM_F_REQUEST_ACK = 0x5;
const NLM_F_REQUEST_DUMP = 0x301;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** nlmsghdr, and struct nfgenmsg behind it. */
const HEADER_BYTES = 16;
const BODY_AT: number = HEADER_BYTES + 4;
const BUFFER_BYTES = 65536;
const ENOENT = 2;

/** Attributes; nested ones restart at 1. */
const Cta = { TUPLE_ORIGINAL: 1, TUPLE_REPLY: 2, STATUS: 3, PROTOINFO: 4, TIMEOUT: 7 } as const;
const CtaTuple = { IP: 1, PROTO: 2 } as const;
const CtaIp = { SRC: 1, DST: 2 } as const;
const CtaProto = { NUMBER: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;
/** The type's bits; the others say that it is nested, or in network byte order. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

/** Bits of a connection's status (IPS_*). */
export const KernelStatus = { SEEN_REPLY: 2, ASSURED: 4, SNAT: 16, DNAT: 32, DYING: 512 } as const;

/** One direction as it is on the wire. Addresses are 32-bit words, signed. */
export interface KernelTuple {
  readonly src: number;
  readonly dst: number;
  readonly srcPort: number;
  readonly dstPort: number;
}

export interface KernelFlow {
  readonly protocol: number;
  readonly original: KernelTuple;
  readonly reply: KernelTuple;
  readonly status: number;
  readonly timeoutSeconds: number;
  /** State of a TCP connection (enum tcp_conntrack); 0 for other protocols. */
  readonly tcpState: number;
}

/** The connections of the namespace in which it was created. */
export class KernelConntrack {
  private readonly fd: number;
  private readonly memory: Mapping;
  private readonly view: DataView;

  /** @throws SystemError, also where the kernel lacks ctnetlink */
  constructor() {
    const [domain, type] = NETLINK_SOCKET;
    this.fd = socket(domain, type, NETLINK_NETFILTER);
    if (this.fd < 0) throw new SystemError('socket', 'NETLINK_NETFILTER');
    this.memory = mapPrivate(BUFFER_BYTES);
    this.view = new DataView(this.memory.buffer);
  }

  /** Every IPv4 connection with ports. @throws SystemError */
  flows(): KernelFlow[] {
    const found: KernelFlow[] = [];
    this.begin(CT_GET, NLM_F_REQUEST_DUMP);
    this.send(BODY_AT);
    for (;;) {
      const got = this.receive();
      for (let at = 0; at + HEADER_BYTES <= got; ) {
        const bytes = this.view.getUint32(at, true);
        const type = this.view.getUint16(at + 4, true);
        if (type === NLMSG_DONE || bytes < HEADER_BYTES) return found;
        if (type === NLMSG_ERROR) this.check(at, 'list of connections');
        const flow = readFlow(this.view, at + BODY_AT, Math.min(at + bytes, got));
        if (flow) found.push(flow);
        at += (bytes + 3) & ~3;
      }
    }
  }

  /** Remove a connection. @returns false if there is none any more @throws SystemError */
  remove({ protocol, original }: Pick<KernelFlow, 'protocol' | 'original'>): boolean {
    this.begin(CT_DELETE, NLM_F_REQUEST_ACK);
    this.send(writeTuple(this.view, BODY_AT, protocol, original));
    this.receive();
    return this.check(0, 'connection');
  }

  close(): void {
    close(this.fd);
    munmap(this.memory.address, this.memory.bytes);
  }

  private begin(type: number, flags: number): void {
    new Uint8Array(this.memory.buffer, 0, BODY_AT).fill(0);
    this.view.setUint16(4, type, true);
    this.view.setUint16(6, flags, true);
    this.view.setUint8(HEADER_BYTES, AF_INET);
  }

  private send(bytes: number): void {
    this.view.setUint32(0, bytes, true);
    if (write(this.fd, this.memory.address, bytes) !== bytes) throw new SystemError('write', 'ctnetlink');
  }

  private receive(): number {
    const got = read(this.fd, this.memory.address, BUFFER_BYTES);
    if (got < HEADER_BYTES) throw new SystemError('read', 'ctnetlink');
    return got;
  }

  /** What the acknowledgement at `at` says. @returns false if the object does not exist @throws Error for all else */
  private check(at: number, what: string): boolean {
    const error = -this.view.getInt32(at + HEADER_BYTES, true);
    if (error === 0) return true;
    if (error === ENOENT) return false;
    throw new Error(`ctnetlink: ${what}: errno ${error}`);
  }
}

/** The attributes of a message or of a nested attribute: called with type, first byte and end of each value. */
function eachAttribute(
  view: DataView,
  from: number,
  end: number,
  each: (type: number, at: number, end: number) => void,
) {
  for (let at = from; at + 4 <= end; ) {
    const bytes = view.getUint16(at, true);
    if (bytes < 4 || at + bytes > end) return;
    each(view.getUint16(at + 2, true) & TYPE_MASK, at + 4, at + bytes);
    at += (bytes + 3) & ~3;
  }
}

/** @returns undefined for protocols without ports, and for IPv6 */
function readFlow(view: DataView, from: number, end: number): KernelFlow | undefined {
  const flow = { protocol: 0, status: 0, timeoutSeconds: 0, tcpState: 0 };
  let original: KernelTuple | undefined;
  let reply: KernelTuple | undefined;
  eachAttribute(view, from, end, (type, at, until) => {
    if (type === Cta.TUPLE_ORIGINAL || type === Cta.TUPLE_REPLY) {
      const tuple = readTuple(view, at, until);
      if (type === Cta.TUPLE_REPLY) reply = tuple;
      else {
        original = tuple;
        flow.protocol = tuple?.protocol ?? 0;
      }
    } else if (type === Cta.STATUS) flow.status = view.getUint32(at);
    else if (type === Cta.TIMEOUT) flow.timeoutSeconds = view.getUint32(at);
    else if (type === Cta.PROTOINFO) flow.tcpState = readTcpState(view, at, until);
  });
  return original && reply ? { ...flow, original, reply } : undefined;
}

function readTuple(view: DataView, from: number, end: number): (KernelTuple & { protocol: number }) | undefined {
  const tuple = { protocol: 0, src: 0, dst: 0, srcPort: 0, dstPort: 0 };
  let fields = 0;
  eachAttribute(view, from, end, (type, at, until) => {
    if (type === CtaTuple.IP) {
      eachAttribute(view, at, until, (which, value) => {
        if (which === CtaIp.SRC) tuple.src = view.getInt32(value);
        else if (which === CtaIp.DST) tuple.dst = view.getInt32(value);
        fields += which === CtaIp.SRC || which === CtaIp.DST ? 1 : 0;
      });
    } else if (type === CtaTuple.PROTO) {
      eachAttribute(view, at, until, (which, value) => {
        if (which === CtaProto.NUMBER) tuple.protocol = view.getUint8(value);
        else if (which === CtaProto.SRC_PORT) tuple.srcPort = view.getUint16(value);
        else if (which === CtaProto.DST_PORT) tuple.dstPort = view.getUint16(value);
        fields += which === CtaProto.SRC_PORT || which === CtaProto.DST_PORT ? 1 : 0;
      });
    }
  });
  return fields === 4 ? tuple : undefined;
}

function readTcpState(view: DataView, from: number, end: number): number {
  let state = 0;
  eachAttribute(view, from, end, (type, at, until) => {
    if (type !== CTA_PROTOINFO_TCP) return;
    eachAttribute(view, at, until, (which, value) => {
      if (which === CTA_PROTOINFO_TCP_STATE) state = view.getUint8(value);
    });
  });
  return state;
}

/** Write CTA_TUPLE_ORIG. @returns where it ends */
function writeTuple(view: DataView, at: number, protocol: number, tuple: KernelTuple): number {
  const nested = (from: number, type: number, fill: (inside: number) => number): number => {
    const end = fill(from + 4);
    view.setUint16(from, end - from, true);
    view.setUint16(from + 2, type | NESTED, true);
    return (end + 3) & ~3;
  };
  const value = (from: number, type: number, bytes: 1 | 2 | 4, number: number): number => {
    view.setUint16(from, 4 + bytes, true);
    view.setUint16(from + 2, type, true);
    view.setUint32(from + 4, 0);
    if (bytes === 1) view.setUint8(from + 4, number);
    else if (bytes === 2) view.setUint16(from + 4, number);
    else view.setInt32(from + 4, number);
    return from + 8;
  };
  return nested(at, Cta.TUPLE_ORIGINAL, (tupleAt) => {
    const protoAt = nested(tupleAt, CtaTuple.IP, (inside) =>
      value(value(inside, CtaIp.SRC, 4, tuple.src), CtaIp.DST, 4, tuple.dst),
    );
    return nested(protoAt, CtaTuple.PROTO, (inside) => {
      const portsAt = value(inside, CtaProto.NUMBER, 1, protocol);
      return value(value(portsAt, CtaProto.SRC_PORT, 2, tuple.srcPort), CtaProto.DST_PORT, 2, tuple.dstPort);
    });
  });
}
