/**
 * Any frame as one line, for capture, trace and failing tests; nested frames (VXLAN, IP in IP, ICMP errors) are in
 * parentheses. Accepts any bytes: inconsistencies are marked with `!`, and nothing outside [start, end) is read. Never
 * called on the packet path.
 *
 *   tcp 10.244.1.2:4000 > 10.96.0.10:80 S seq 1 win 64240 <mss 1410>
 *   vxlan 172.18.0.11:52001 > 172.18.0.12:4789 vni 1 (udp 10.244.1.2:5353 > 10.244.2.2:53 len 31)
 *   icmp 10.244.1.1 > 10.244.1.2 unreachable port (udp 10.244.1.2:4000 > 10.96.0.10:99 len 5)
 *
 * The brief form (for comparisons) keeps only what identifies the packet: no sequence numbers, windows, options,
 * lengths.
 */
import {
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_IPIP,
  PROTOCOL_IPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  protocolName,
} from '../protocols.ts';
import { formatIpv4, formatIpv6, formatMac } from '../wire/address.ts';
import {
  ARP_BYTES,
  ARP_REPLY,
  ARP_REQUEST,
  arpOperation,
  arpSenderIp,
  arpSenderMacHigh,
  arpSenderMacLow,
  arpTargetIp,
  isEthernetArp,
} from '../wire/arp.ts';
import {
  destinationMacHigh,
  destinationMacLow,
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_MIN,
  ethernetType,
  isVlanType,
  sourceMacHigh,
  sourceMacLow,
  VLAN_TAG_BYTES,
  vlanIdentifier,
} from '../wire/ethernet.ts';
import { GRE_ETHERNET, GRE_MIN_BYTES, greHeaderBytes, greType } from '../wire/gre.ts';
import {
  ICMP_BYTES,
  ICMP_REDIRECT,
  ICMP_UNREACHABLE,
  icmpCode,
  icmpIdentifier,
  icmpMtu,
  icmpRedirectGateway,
  icmpSequence,
  icmpType,
  isIcmpError,
  UNREACHABLE_FRAGMENTATION_NEEDED,
} from '../wire/icmp.ts';
import {
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOUR_ADVERTISEMENT,
  ICMPV6_NEIGHBOUR_SOLICITATION,
  ICMPV6_TOO_BIG,
  icmpv6Mtu,
  isIcmpv6Error,
  ND_BYTES,
  ndTargetWord,
} from '../wire/icmpv6.ts';
import { IPV4, IPV6, ipVersion } from '../wire/ip.ts';
import {
  IPV4_MIN_BYTES,
  IPV4_MORE_FRAGMENTS,
  ipv4Destination,
  ipv4FragmentOffset,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4HeaderChecksum,
  ipv4Identification,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  isIpv4Fragment,
} from '../wire/ipv4.ts';
import { IPV6_BYTES, ipv6DestinationWord, ipv6PayloadLength, ipv6SourceWord } from '../wire/ipv6.ts';
import { ipv6Chain, walkIpv6Extensions } from '../wire/ipv6-extensions.ts';
import { destinationPort, PORTS_BYTES, sourcePort } from '../wire/ports.ts';
import { TCP_MIN_BYTES } from '../wire/tcp.ts';
import { UDP_BYTES } from '../wire/udp.ts';
import { carriesVxlan, VXLAN_BYTES, vxlanNetwork } from '../wire/vxlan.ts';
import { icmpName, icmpv6Name } from './icmp-names.ts';
import { printSctp, printTcp, printUdp } from './transport.ts';

/** Nesting depth of frames before the rest is omitted. */
const MAX_DEPTH = 4;

/** State passed down through the layers of one frame. */
interface Context {
  readonly view: DataView;
  readonly brief: boolean;
  /** Inside an ICMP error, or a fragment: the packet may end early. */
  readonly quoted: boolean;
  readonly depth: number;
}

/**
 * Print the Ethernet frame at [start, end) as one line.
 * @param brief omit what changes from packet to packet
 */
export function printFrame(view: DataView, start: number, end: number, brief = false): string {
  const from = Math.min(Math.max(0, start), view.byteLength);
  return printEthernet({ view, brief, quoted: false, depth: 0 }, from, Math.min(end, view.byteLength));
}

/** The same for a frame in an array of its own. */
export function printBytes(frame: Uint8Array, brief = false): string {
  return printFrame(new DataView(frame.buffer, frame.byteOffset, frame.byteLength), 0, frame.length, brief);
}

/** The same for an IP packet without an Ethernet header. */
export function printPacket(view: DataView, l3: number, end: number, brief = false): string {
  const from = Math.min(Math.max(0, l3), view.byteLength);
  return printIp({ view, brief, quoted: false, depth: 0 }, from, Math.min(end, view.byteLength));
}

function printEthernet(context: Context, start: number, end: number): string {
  const { view } = context;
  if (context.depth > MAX_DEPTH) return '…';
  if (end - start < ETHERNET_BYTES) return `!ethernet of ${Math.max(0, end - start)} bytes`;
  let at = start;
  let tags = '';
  let type = ethernetType(view, at);
  while (isVlanType(type) && end - at >= ETHERNET_BYTES + VLAN_TAG_BYTES) {
    tags += `vlan ${vlanIdentifier(view, at)} `;
    at += VLAN_TAG_BYTES;
    type = ethernetType(view, at);
  }
  const l3 = at + ETHERNET_BYTES;
  if (type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6) {
    const version = type === ETHERTYPE_IPV4 ? IPV4 : IPV6;
    if (end <= l3 || ipVersion(view, l3) === version) return tags + printIp(context, l3, end);
    // The version field decides how to print it, as in tshark. (Linux goes by the EtherType and drops the packet.)
    return `${tags}${printIp(context, l3, end)} !ethertype of ipv${version}`;
  }
  if (type === ETHERTYPE_ARP) return tags + printArp(context, l3, end);
  const src = formatMac(sourceMacHigh(view, start), sourceMacLow(view, start));
  const macs = `${src} > ${formatMac(destinationMacHigh(view, start), destinationMacLow(view, start))}`;
  const what = type < ETHERTYPE_MIN ? '802.3' : `type 0x${type.toString(16).padStart(4, '0')}`;
  return `${tags}ethernet ${macs} ${what} len ${end - l3}`;
}

function printArp({ view }: Context, l3: number, end: number): string {
  if (end - l3 < ARP_BYTES) return '!arp cut short';
  if (!isEthernetArp(view, l3)) return '!arp of another network';
  const operation = arpOperation(view, l3);
  const sender = formatIpv4(arpSenderIp(view, l3));
  const target = formatIpv4(arpTargetIp(view, l3));
  if (operation === ARP_REQUEST) return `arp who-has ${target} tell ${sender}`;
  if (operation !== ARP_REPLY) return `arp operation ${operation}`;
  return `arp ${sender} is-at ${formatMac(arpSenderMacHigh(view, l3), arpSenderMacLow(view, l3))}`;
}

function printIp(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (context.depth > MAX_DEPTH) return '…';
  if (end - l3 < 1) return '!ip cut short';
  const version = ipVersion(view, l3);
  if (version === IPV4) return printIpv4(context, l3, end);
  return version === IPV6 ? printIpv6(context, l3, end) : `!ip version ${version}`;
}

function printIpv4(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (end - l3 < IPV4_MIN_BYTES) return '!ipv4 cut short';
  const headerBytes = ipv4HeaderBytes(view, l3);
  if (headerBytes < IPV4_MIN_BYTES || headerBytes > end - l3) return `!ipv4 header of ${headerBytes} bytes`;
  const totalLength = ipv4TotalLength(view, l3);
  const src = formatIpv4(ipv4Source(view, l3));
  const dst = formatIpv4(ipv4Destination(view, l3));
  const fragment = ipv4FragmentWord(view, l3);
  const offset = ipv4FragmentOffset(fragment);
  let notes = '';
  if (isIpv4Fragment(fragment)) {
    const more = (fragment & IPV4_MORE_FRAGMENTS) !== 0 ? ' more' : '';
    notes += ` frag id ${ipv4Identification(view, l3)} offset ${offset}${more}`;
  }
  if (ipv4HeaderChecksum(view, l3, headerBytes) !== 0) notes += ' !ip-checksum';
  // A super-packet may be longer than its length field can express; only a shorter length cuts the packet.
  let packetEnd = end;
  if (totalLength !== 0 && totalLength < headerBytes) notes += ` !total-length ${totalLength}`;
  else if (totalLength !== 0 && l3 + totalLength < end) packetEnd = l3 + totalLength;
  else if (l3 + totalLength > end && !context.quoted) notes += ` !total-length ${totalLength}`;
  const l4 = l3 + headerBytes;
  // A first fragment ends before its datagram does, as a quoted packet may.
  const inside = isIpv4Fragment(fragment) ? { ...context, quoted: true } : context;
  return printPayload(inside, ipv4Protocol(view, l3), [src, dst], l4, packetEnd, offset !== 0) + notes;
}

function printIpv6(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (end - l3 < IPV6_BYTES) return '!ipv6 cut short';
  const address = (word: typeof ipv6SourceWord): string =>
    formatIpv6(word(view, l3, 0), word(view, l3, 1), word(view, l3, 2), word(view, l3, 3));
  const src = address(ipv6SourceWord);
  const dst = address(ipv6DestinationWord);
  const payload = ipv6PayloadLength(view, l3);
  const statedEnd = l3 + IPV6_BYTES + payload;
  const packetEnd = payload !== 0 && statedEnd < end ? statedEnd : end;
  if (!walkIpv6Extensions(view, l3, packetEnd)) return `ip6 ${src} > ${dst} !extension-headers`;
  const { protocol, l4, fragmentAt, fragmentOffset, moreFragments, identification } = ipv6Chain;
  let notes = '';
  if (fragmentAt !== 0)
    notes = ` frag id ${identification >>> 0} offset ${fragmentOffset}${moreFragments ? ' more' : ''}`;
  if (statedEnd > end && !context.quoted) notes += ` !payload-length ${payload}`;
  const inside = fragmentAt !== 0 ? { ...context, quoted: true } : context;
  return printPayload(inside, protocol, [src, dst], l4, packetEnd, fragmentOffset !== 0) + notes;
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function printPayload(
  context: Context,
  protocol: number,
  [src, dst]: readonly [src: string, dst: string],
  l4: number,
  end: number,
  laterFragment: boolean,
): string {
  const { view, brief, quoted } = context;
  const plain = `${protocolName(protocol)} ${src} > ${dst}`;
  const room = end - l4;
  const length = brief ? '' : ` len ${room}`;
  if (laterFragment) return plain + length;
  const inner: Context = { view, brief, quoted, depth: context.depth + 1 };
  switch (protocol) {
    case PROTOCOL_TCP:
    case PROTOCOL_UDP:
    case PROTOCOL_SCTP: {
      if (room < PORTS_BYTES) return `${plain} !cut`;
      const srcPort = sourcePort(view, l4);
      const dstPort = destinationPort(view, l4);
      const ends = `${endpoint(src, srcPort)} > ${endpoint(dst, dstPort)}`;
      if (protocol === PROTOCOL_TCP) {
        const cut = room < TCP_MIN_BYTES && !quoted ? ' !cut' : '';
        return `tcp ${ends}${printTcp(view, l4, end, brief)}${cut}`;
      }
      if (protocol === PROTOCOL_SCTP) return `sctp ${ends}${printSctp(room, brief, quoted)}`;
      if (carriesVxlan(view, l4, end)) {
        const outer = brief ? `${src} > ${dst}` : ends;
        const header = l4 + UDP_BYTES;
        return `vxlan ${outer} vni ${vxlanNetwork(view, header)} (${printEthernet(inner, header + VXLAN_BYTES, end)})`;
      }
      return `udp ${ends}${printUdp(view, l4, end, brief, quoted)}`;
    }
    case PROTOCOL_ICMP:
      return plain + printIcmp(inner, l4, end);
    case PROTOCOL_ICMPV6:
      return plain + printIcmpv6(inner, l4, end);
    case PROTOCOL_IPIP:
    case PROTOCOL_IPV6:
      return `${plain} (${printIp(inner, l4, end)})`;
    case PROTOCOL_GRE:
      return `${plain}${printGre(inner, l4, end) ?? length}`;
    default:
      return plain + length;
  }
}

/** ` (…)` with what is inside; undefined when the header is cut or not opened. */
function printGre(context: Context, l4: number, end: number): string | undefined {
  const { view } = context;
  const headerBytes = end - l4 < GRE_MIN_BYTES ? 0 : greHeaderBytes(view, l4);
  const at = l4 + headerBytes;
  if (headerBytes === 0 || at > end) return undefined;
  switch (greType(view, l4)) {
    case GRE_ETHERNET:
      return ` (${printEthernet(context, at, end)})`;
    case ETHERTYPE_IPV4:
    case ETHERTYPE_IPV6:
      return ` (${printIp(context, at, end)})`;
    default:
      return undefined;
  }
}

function printIcmp(context: Context, l4: number, end: number): string {
  const { view } = context;
  if (end - l4 < ICMP_BYTES) return ' !cut';
  const type = icmpType(view, l4);
  const code = icmpCode(view, l4);
  let text = ` ${icmpName(type, code)}`;
  if (isIcmpError(type)) {
    if (type === ICMP_UNREACHABLE && code === UNREACHABLE_FRAGMENTATION_NEEDED) text += ` mtu ${icmpMtu(view, l4)}`;
    if (type === ICMP_REDIRECT) text += ` to ${formatIpv4(icmpRedirectGateway(view, l4))}`;
    return `${text} (${printIp({ ...context, quoted: true }, l4 + ICMP_BYTES, end)})`;
  }
  return text + printQuery(context, l4, end);
}

function printIcmpv6(context: Context, l4: number, end: number): string {
  const { view } = context;
  if (end - l4 < ICMP_BYTES) return ' !cut';
  const type = icmpType(view, l4);
  let text = ` ${icmpv6Name(type, icmpCode(view, l4))}`;
  if (isIcmpv6Error(type)) {
    if (type === ICMPV6_TOO_BIG) text += ` mtu ${icmpv6Mtu(view, l4)}`;
    return `${text} (${printIp({ ...context, quoted: true }, l4 + ICMP_BYTES, end)})`;
  }
  if (type === ICMPV6_NEIGHBOUR_SOLICITATION || type === ICMPV6_NEIGHBOUR_ADVERTISEMENT) {
    if (end - l4 < ND_BYTES) return `${text} !cut`;
    const word = (index: number): number => ndTargetWord(view, l4, index);
    return `${text} ${formatIpv6(word(0), word(1), word(2), word(3))}`;
  }
  return text + (type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY ? printQuery(context, l4, end) : '');
}

/** Identifier, sequence number and data length of an echo and similar queries. */
function printQuery({ view, brief }: Context, l4: number, end: number): string {
  const id = ` id ${icmpIdentifier(view, l4)}`;
  if (brief) return id;
  const data = end - l4 - ICMP_BYTES;
  return `${id} seq ${icmpSequence(view, l4)}${data === 0 ? '' : ` len ${data}`}`;
}
