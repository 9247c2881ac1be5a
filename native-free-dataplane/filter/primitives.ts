/**
 * The primitives of filter expressions as conditions on fields: `host`, `net`, `port`, `proto` and so on. The fields,
 * and the order of their tests, are those of libpcap (gencode.c) for Ethernet: IPv6 extension headers are not followed
 * except one fragment header, ports of later fragments do not match, and `host` includes ARP.
 */
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN } from '../wire/ethernet.ts';
import { and, type Condition, type Field, not, or, type Size } from './condition.ts';
import { Op } from './program.ts';

/** RARP (RFC 903) and the EtherType of double VLAN tags before 802.1ad. */
const ETHERTYPE_RARP = 0x8035;
const ETHERTYPE_QINQ_OLD = 0x9100;
/** Largest value of the EtherType field that is a length (IEEE 802.3). */
const MAX_802_3_LENGTH = 1500;

export const ETHERTYPES: Readonly<Record<string, number>> = {
  ip: ETHERTYPE_IPV4,
  ip6: ETHERTYPE_IPV6,
  arp: ETHERTYPE_ARP,
  rarp: ETHERTYPE_RARP,
};

/** Where the headers of a frame are; `vlan` and `vxlan` move them for the rest of the expression. */
export interface Layers {
  /** Ethernet header, EtherType, network header. */
  link: number;
  type: number;
  network: number;
}

/** The headers of an Ethernet frame. */
export const layersOf = (): Layers => ({ link: 0, type: 12, network: 14 });

export type Direction = 'src' | 'dst' | 'src or dst' | 'src and dst' | undefined;

/** Offsets of a source and a destination from a header, such as those of addresses. */
interface Ends {
  readonly src: number;
  readonly dst: number;
}
const IPV4_ENDS: Ends = { src: 12, dst: 16 };
const IPV6_ENDS: Ends = { src: 8, dst: 24 };
const ARP_ENDS: Ends = { src: 14, dst: 24 };
const MAC_ENDS: Ends = { src: 6, dst: 0 };
const PORT_ENDS: Ends = { src: 0, dst: 2 };

const IPV4_PROTOCOL = 9;
const IPV4_FRAGMENT = 6;
const FRAGMENT_OFFSET_MASK = 0x1fff;
const IPV4_LENGTH_MASK = 0x0f;
const IPV4_MIN_WORDS = 5;
const IPV6_NEXT_HEADER = 6;
const IPV6_BYTES = 40;
const IPV6_FRAGMENT = 44;
const ICMPV6 = 58;

/** Outer headers of a VXLAN packet: Ethernet, IPv4 without options, UDP, VXLAN. */
const VXLAN_UDP = 20;
const VXLAN_FLAGS = 28;
const VXLAN_VNI = 32;
const VXLAN_INNER = 36;
const VXLAN_VALID = 0x08;

const all = (first: Condition, ...more: Condition[]): Condition => more.reduce(and, first);
const any = (first: Condition, ...more: Condition[]): Condition => more.reduce(or, first);

function equals(offset: number, size: Size, value: number, mask = -1): Condition {
  return { kind: 'test', field: { offset, size }, mask, op: Op.TEST_EQUAL, value };
}

function directed(direction: Direction, ends: Ends, matchAt: (offset: number) => Condition): Condition {
  if (direction === 'src') return matchAt(ends.src);
  if (direction === 'dst') return matchAt(ends.dst);
  const [src, dst] = [matchAt(ends.src), matchAt(ends.dst)];
  return direction === 'src and dst' ? and(src, dst) : or(src, dst);
}

export function etherType({ type, network }: Layers, value: number): Condition {
  if (value > MAX_802_3_LENGTH) return equals(type, 2, value);
  // An 802.3 frame: the field is a length, and an LLC header follows whose first byte names the protocol.
  const field: Field = { offset: type, size: 2 };
  const isType: Condition = { kind: 'test', field, mask: -1, op: Op.TEST_GREATER, value: MAX_802_3_LENGTH };
  return and(not(isType), equals(network, 1, value));
}

function addressOf(layers: Layers, type: number, ends: Ends, direction: Direction, match: Words): Condition {
  const test = (offset: number): Condition => {
    const words = match.address.map((word, i) => equals(layers.network + offset + 4 * i, 4, word, match.mask[i]));
    return words.reduce(and);
  };
  return directed(direction, ends, (offset) => and(etherType(layers, type), test(offset)));
}

/** An address and its mask, as words. */
export interface Words {
  readonly address: readonly number[];
  readonly mask: readonly number[];
}

export function ipv4Address(
  layers: Layers,
  protocol: string | undefined,
  direction: Direction,
  match: Words,
): Condition {
  const ip = () => addressOf(layers, ETHERTYPE_IPV4, IPV4_ENDS, direction, match);
  const arp = () => addressOf(layers, ETHERTYPE_ARP, ARP_ENDS, direction, match);
  const rarp = () => addressOf(layers, ETHERTYPE_RARP, ARP_ENDS, direction, match);
  if (protocol === 'ip') return ip();
  if (protocol === 'arp') return arp();
  return protocol === 'rarp' ? rarp() : any(ip(), arp(), rarp());
}

export function ipv6Address(layers: Layers, direction: Direction, match: Words): Condition {
  return addressOf(layers, ETHERTYPE_IPV6, IPV6_ENDS, direction, match);
}

export function macAddress({ link }: Layers, direction: Direction, high: number, low: number): Condition {
  return directed(direction, MAC_ENDS, (offset) =>
    and(equals(link + offset + 2, 4, low), equals(link + offset, 2, high)),
  );
}

function ipv4Protocol({ network }: Layers, protocol: number): Condition {
  return equals(network + IPV4_PROTOCOL, 1, protocol);
}

const nextHeader = ({ network }: Layers, protocol: number): Condition =>
  equals(network + IPV6_NEXT_HEADER, 1, protocol);

export function overIpv4(layers: Layers, protocol: number): Condition {
  return and(etherType(layers, ETHERTYPE_IPV4), ipv4Protocol(layers, protocol));
}

export function overIpv6(layers: Layers, protocol: number): Condition {
  const inFragment = and(nextHeader(layers, IPV6_FRAGMENT), equals(layers.network + IPV6_BYTES, 1, protocol));
  return and(etherType(layers, ETHERTYPE_IPV6), or(nextHeader(layers, protocol), inFragment));
}

export const overIp = (layers: Layers, protocol: number): Condition =>
  or(overIpv4(layers, protocol), overIpv6(layers, protocol));

export function firstFragment({ network }: Layers): Condition {
  return equals(network + IPV4_FRAGMENT, 2, 0, FRAGMENT_OFFSET_MASK);
}

export function isIcmpv6({ network, ...layers }: Layers): Condition {
  const moved = { network, ...layers };
  return and(etherType(moved, ETHERTYPE_IPV6), nextHeader(moved, ICMPV6));
}

/** A port between `low` and `high`. @param protocol undefined: TCP, UDP or SCTP */
export function port(
  layers: Layers,
  protocol: number | undefined,
  direction: Direction,
  low: number,
  high: number,
): Condition {
  const { network } = layers;
  const protocols = protocol === undefined ? [PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP] : [protocol];
  const inRange = (field: Field): Condition => {
    if (low === high) return { kind: 'test', field, mask: -1, op: Op.TEST_EQUAL, value: low };
    const above: Condition = { kind: 'test', field, mask: -1, op: Op.TEST_AT_LEAST, value: low };
    return and(above, not({ kind: 'test', field, mask: -1, op: Op.TEST_GREATER, value: high }));
  };
  const [firstV6, ...moreV6] = protocols.map((number) =>
    and(
      nextHeader(layers, number),
      directed(direction, PORT_ENDS, (offset) => inRange({ offset: network + IPV6_BYTES + offset, size: 2 })),
    ),
  );
  const [firstV4, ...moreV4] = protocols.map((number) =>
    all(
      ipv4Protocol(layers, number),
      firstFragment(layers),
      directed(direction, PORT_ENDS, (offset) => inRange({ offset: network + offset, size: 2, header: network })),
    ),
  );
  return or(
    and(etherType(layers, ETHERTYPE_IPV6), any(firstV6, ...moreV6)),
    and(etherType(layers, ETHERTYPE_IPV4), any(firstV4, ...moreV4)),
  );
}

/** A VLAN tag; the rest of the expression applies to what follows it. @param id undefined: any */
export function vlan(layers: Layers, id: number | undefined): Condition {
  const tagged = any(
    etherType(layers, ETHERTYPE_VLAN),
    etherType(layers, ETHERTYPE_QINQ),
    etherType(layers, ETHERTYPE_QINQ_OLD),
  );
  const found = id === undefined ? tagged : and(tagged, equals(layers.network, 2, id, 0x0fff));
  layers.type += 4;
  layers.network += 4;
  return found;
}

/** A VXLAN packet over IPv4; the rest of the expression applies to the frame inside. @param vni undefined: any */
export function vxlan(layers: Layers, udpPort: number, vni: number | undefined): Condition {
  const { network } = layers;
  const outer = all(
    overIpv4(layers, PROTOCOL_UDP),
    equals(network, 1, IPV4_MIN_WORDS, IPV4_LENGTH_MASK),
    firstFragment(layers),
    equals(network + VXLAN_UDP + PORT_ENDS.dst, 2, udpPort),
    equals(network + VXLAN_FLAGS, 1, VXLAN_VALID, VXLAN_VALID),
  );
  layers.link = network + VXLAN_INNER;
  layers.type = layers.link + 12;
  layers.network = layers.link + 14;
  return vni === undefined ? outer : and(outer, equals(network + VXLAN_VNI, 4, vni << 8, ~0xff));
}

export const isBroadcast = (layers: Layers): Condition => macAddress(layers, 'dst', 0xffff, 0xffffffff);

/** A group address: of the frame, or the destination of IPv4 or IPv6. */
export function isMulticast({ link, ...rest }: Layers, protocol: 'ether' | 'ip' | 'ip6'): Condition {
  const layers = { link, ...rest };
  if (protocol === 'ether') return equals(link, 1, 1, 1);
  if (protocol === 'ip6')
    return and(etherType(layers, ETHERTYPE_IPV6), equals(layers.network + IPV6_ENDS.dst, 1, 0xff));
  const field: Field = { offset: layers.network + IPV4_ENDS.dst, size: 1 };
  return and(etherType(layers, ETHERTYPE_IPV4), { kind: 'test', field, mask: -1, op: Op.TEST_AT_LEAST, value: 224 });
}
