/**
 * Any frame as one line, for capture, trace and failing tests; frames within frames (VXLAN, IP in IP, ICMP errors)
 * stand in parentheses. Survives any bytes: what does not fit is said with a `!`, and nothing outside [start, end) is
 * read. Never called on the packet path.
 *
 *   tcp 10.244.1.2:4000 > 10.96.0.10:80 S seq 1 win 64240 <mss 1410>
 *   vxlan 172.18.0.11:52001 > 172.18.0.12:4789 vni 1 (udp 10.244.1.2:5353 > 10.244.2.2:53 len 31)
 *   icmp 10.244.1.1 > 10.244.1.2 unreachable port (udp 10.244.1.2:4000 > 10.96.0.10:99 len 5)
 *
 * In brief (for comparing) only what names the packet is left: no sequence numbers, windows, options, lengths.
 */

import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_IPIP,
  PROTOCOL_IPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../protocols.ts';
import { formatIpv4, formatIpv6, formatMac } from '../wire/address.ts';
import { ARP_BYTES, ARP_REQUEST, arpOperation, arpSenderIp, arpTargetIp, isEthernetArp } from '../wire/arp.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN } from '../wire/ethernet.ts';
import { ICMP_BYTES, icmpMtu, isIcmpError } from '../wire/icmp.ts';
import {
  ICMPV6_NEIGHBOUR_ADVERTISEMENT,
  ICMPV6_NEIGHBOUR_SOLICITATION,
  ICMPV6_TOO_BIG,
  icmpv6Mtu,
  isIcmpv6Error,
  ND_BYTES,
  ndTargetWord,
} from '../wire/icmpv6.ts';
import { ipv4HeaderChecksum } from '../wire/ipv4.ts';
import { ipv6Chain, walkIpv6Extensions } from '../wire/ipv6-extensions.ts';
import { VXLAN_BYTES, VXLAN_PORT, vxlanNetwork } from '../wire/vxlan.ts';
import { icmpName, icmpv6Name, protocolName } from './protocol-names.ts';
import { printSctp, printTcp, printUdp } from './transport.ts';

/** How deep frames may lie in frames before the rest is left out. */
const MAX_DEPTH = 4;
/** The VXLAN port Linux and flannel used before IANA gave one (linux: vxlan_port). */
const VXLAN_PORT_LINUX = 8472;

/** What is handed down through the layers of one frame. */
interface Context {
  readonly view: DataView;
  readonly brief: boolean;
  /** Inside an ICMP error: the packet may end early. */
  readonly quoted: boolean;
  readonly depth: number;
}

/**
 * One line about the Ethernet frame at [start, end).
 * @param brief leave out what changes from packet to packet
 */
export function printFrame(view: DataView, start: number, end: number, brief = false): string {
  const from = Math.min(Math.max(0, start), view.byteLength);
  return printEthernet({ view, brief, quoted: false, depth: 0 }, from, Math.min(end, view.byteLength));
}

/** The same for a frame that has its bytes to itself. */
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
  if (end - start < 14) return `!ethernet of ${Math.max(0, end - start)} bytes`;
  let at = start + 12;
  let tags = '';
  let type = view.getUint16(at);
  while ((type === ETHERTYPE_VLAN || type === ETHERTYPE_QINQ) && end - at >= 6) {
    tags += `vlan ${view.getUint16(at + 2) & 0xfff} `;
    at += 4;
    type = view.getUint16(at);
  }
  const l3 = at + 2;
  if (type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6) {
    const version = type === ETHERTYPE_IPV4 ? 4 : 6;
    if (end > l3 && view.getUint8(l3) >> 4 !== version)
      return `${tags}!ipv${version} with version ${view.getUint8(l3) >> 4}`;
    return tags + printIp(context, l3, end);
  }
  if (type === ETHERTYPE_ARP) return tags + printArp(context, l3, end);
  const macs = `${printMac(view, start + 6)} > ${printMac(view, start)}`;
  const what = type < 0x600 ? '802.3' : `type 0x${type.toString(16).padStart(4, '0')}`;
  return `${tags}ethernet ${macs} ${what} len ${end - l3}`;
}

function printMac(view: DataView, at: number): string {
  return formatMac(view.getUint16(at), view.getInt32(at + 2));
}

function printArp({ view }: Context, l3: number, end: number): string {
  if (end - l3 < ARP_BYTES) return '!arp cut short';
  if (!isEthernetArp(view, l3)) return '!arp of another network';
  const operation = arpOperation(view, l3);
  const sender = formatIpv4(arpSenderIp(view, l3));
  const target = formatIpv4(arpTargetIp(view, l3));
  if (operation === ARP_REQUEST) return `arp who-has ${target} tell ${sender}`;
  return operation === 2 ? `arp ${sender} is-at ${printMac(view, l3 + 8)}` : `arp operation ${operation}`;
}

function printIp(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (context.depth > MAX_DEPTH) return '…';
  if (end - l3 < 1) return '!ip cut short';
  const version = view.getUint8(l3) >> 4;
  if (version === 4) return printIpv4(context, l3, end);
  return version === 6 ? printIpv6(context, l3, end) : `!ip version ${version}`;
}

function printIpv4(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (end - l3 < 20) return '!ipv4 cut short';
  const headerBytes = (view.getUint8(l3) & 15) << 2;
  if (headerBytes < 20 || headerBytes > end - l3) return `!ipv4 header of ${headerBytes} bytes`;
  const totalLength = view.getUint16(l3 + 2);
  const src = formatIpv4(view.getInt32(l3 + 12));
  const dst = formatIpv4(view.getInt32(l3 + 16));
  const fragment = view.getUint16(l3 + 6);
  let notes = '';
  if ((fragment & 0x3fff) !== 0) {
    notes += ` frag id ${view.getUint16(l3 + 4)} offset ${(fragment & 0x1fff) << 3}${(fragment & 0x2000) !== 0 ? ' more' : ''}`;
  }
  if (ipv4HeaderChecksum(view, l3, headerBytes) !== 0) notes += ' !ip-checksum';
  // A super-packet may be longer than its field can say; only a shorter packet is cut.
  let packetEnd = end;
  if (totalLength !== 0 && totalLength < headerBytes) notes += ` !total-length ${totalLength}`;
  else if (totalLength !== 0 && l3 + totalLength < end) packetEnd = l3 + totalLength;
  else if (l3 + totalLength > end && !context.quoted) notes += ` !total-length ${totalLength}`;
  const l4 = l3 + headerBytes;
  return printPayload(context, view.getUint8(l3 + 9), src, dst, l4, packetEnd, (fragment & 0x1fff) !== 0) + notes;
}

function printIpv6(context: Context, l3: number, end: number): string {
  const { view } = context;
  if (end - l3 < 40) return '!ipv6 cut short';
  const address = (at: number): string =>
    formatIpv6(view.getInt32(at), view.getInt32(at + 4), view.getInt32(at + 8), view.getInt32(at + 12));
  const src = address(l3 + 8);
  const dst = address(l3 + 24);
  const payload = view.getUint16(l3 + 4);
  const packetEnd = payload !== 0 && l3 + 40 + payload < end ? l3 + 40 + payload : end;
  if (!walkIpv6Extensions(view, l3, packetEnd)) return `ip6 ${src} > ${dst} !extension-headers`;
  const { protocol, l4, fragmentAt, fragmentOffset, moreFragments, identification } = ipv6Chain;
  let notes = '';
  if (fragmentAt !== 0)
    notes = ` frag id ${identification >>> 0} offset ${fragmentOffset}${moreFragments ? ' more' : ''}`;
  if (l3 + 40 + payload > end && !context.quoted) notes += ` !payload-length ${payload}`;
  return printPayload(context, protocol, src, dst, l4, packetEnd, fragmentOffset !== 0) + notes;
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function printPayload(
  context: Context,
  protocol: number,
  src: string,
  dst: string,
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
      if (room < 4) return `${plain} !cut`;
      const srcPort = view.getUint16(l4);
      const dstPort = view.getUint16(l4 + 2);
      const ends = `${endpoint(src, srcPort)} > ${endpoint(dst, dstPort)}`;
      if (protocol === PROTOCOL_TCP) {
        const cut = room < 20 && !quoted ? ' !cut' : '';
        return `tcp ${ends}${printTcp(view, l4, end, brief)}${cut}`;
      }
      if (protocol === PROTOCOL_SCTP) return `sctp ${ends}${printSctp(room, brief, quoted)}`;
      if (isVxlan(view, l4, end, dstPort)) {
        const outer = brief ? `${src} > ${dst}` : ends;
        return `vxlan ${outer} vni ${vxlanNetwork(view, l4 + 8)} (${printEthernet(inner, l4 + 8 + VXLAN_BYTES, end)})`;
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
    default:
      return plain + length;
  }
}

/** UDP to a VXLAN port whose "VNI is valid" bit is set. */
function isVxlan(view: DataView, l4: number, end: number, dstPort: number): boolean {
  if (dstPort !== VXLAN_PORT && dstPort !== VXLAN_PORT_LINUX) return false;
  return end - l4 >= 8 + VXLAN_BYTES && (view.getUint8(l4 + 8) & 0x08) !== 0;
}

function printIcmp(context: Context, l4: number, end: number): string {
  const { view } = context;
  if (end - l4 < ICMP_BYTES) return ' !cut';
  const type = view.getUint8(l4);
  let text = ` ${icmpName(type, view.getUint8(l4 + 1))}`;
  if (isIcmpError(type)) {
    if (type === 3 && view.getUint8(l4 + 1) === 4) text += ` mtu ${icmpMtu(view, l4)}`;
    if (type === 5) text += ` to ${formatIpv4(view.getInt32(l4 + 4))}`;
    return `${text} (${printIp({ ...context, quoted: true }, l4 + ICMP_BYTES, end)})`;
  }
  return text + printQuery(context, l4, end);
}

function printIcmpv6(context: Context, l4: number, end: number): string {
  const { view } = context;
  if (end - l4 < ICMP_BYTES) return ' !cut';
  const type = view.getUint8(l4);
  let text = ` ${icmpv6Name(type, view.getUint8(l4 + 1))}`;
  if (isIcmpv6Error(type)) {
    if (type === ICMPV6_TOO_BIG) text += ` mtu ${icmpv6Mtu(view, l4)}`;
    return `${text} (${printIp({ ...context, quoted: true }, l4 + ICMP_BYTES, end)})`;
  }
  if (type === ICMPV6_NEIGHBOUR_SOLICITATION || type === ICMPV6_NEIGHBOUR_ADVERTISEMENT) {
    if (end - l4 < ND_BYTES) return `${text} !cut`;
    const word = (index: number): number => ndTargetWord(view, l4, index);
    return `${text} ${formatIpv6(word(0), word(1), word(2), word(3))}`;
  }
  return text + (type === 128 || type === 129 ? printQuery(context, l4, end) : '');
}

/** Identifier, sequence and data of an echo and its like. */
function printQuery({ view, brief }: Context, l4: number, end: number): string {
  const id = ` id ${view.getUint16(l4 + 4)}`;
  if (brief) return id;
  const data = end - l4 - ICMP_BYTES;
  return `${id} seq ${view.getUint16(l4 + 6)}${data === 0 ? '' : ` len ${data}`}`;
}
