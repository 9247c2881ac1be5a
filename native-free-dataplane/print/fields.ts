/**
 * The fields of a frame by name, as text, to compare two states of a packet. Names of the outer headers of a tunnel
 * begin with `outer `. Incomplete headers have no fields. Never called on the packet path.
 */
import { PROTOCOL_ICMP, PROTOCOL_IPIP, PROTOCOL_TCP, PROTOCOL_UDP, protocolName } from '../protocols.ts';
import { formatIpv4, formatMac } from '../wire/address.ts';
import {
  destinationMacHigh,
  destinationMacLow,
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ethernetType,
  sourceMacHigh,
  sourceMacLow,
} from '../wire/ethernet.ts';
import { ICMP_BYTES, icmpChecksum, icmpIdentifier, icmpQueryType, icmpType } from '../wire/icmp.ts';
import { IPV4, ipVersion } from '../wire/ip.ts';
import {
  IPV4_MIN_BYTES,
  ipv4Destination,
  ipv4FragmentOffset,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4StoredChecksum,
  ipv4TotalLength,
  ipv4Ttl,
} from '../wire/ipv4.ts';
import { destinationPort, hasPorts, PORTS_BYTES, sourcePort } from '../wire/ports.ts';
import {
  OPTION_HEADER_BYTES,
  optionMss,
  readTcpOptions,
  TCP_MIN_BYTES,
  tcpChecksum,
  tcpHeaderBytes,
  tcpOptions,
} from '../wire/tcp.ts';
import { UDP_BYTES, udpChecksum } from '../wire/udp.ts';
import { carriesVxlan, VXLAN_BYTES, vxlanNetwork } from '../wire/vxlan.ts';
import { icmpName } from './icmp-names.ts';

export type FrameFields = Readonly<Record<string, string>>;

type Writable = Record<string, string>;

const hex = (word: number): string => `0x${word.toString(16).padStart(4, '0')}`;

/** The fields of the Ethernet frame at [start, end), outermost first. */
export function frameFields(view: DataView, start: number, end: number): FrameFields {
  const fields: Writable = { headers: '' };
  readEthernet(view, start, end, fields);
  fields.headers = fields.headers!.trim();
  return fields;
}

/** Rename the fields read so far: they belong to the outer headers of a tunnel. */
function makeOuter(fields: Writable): void {
  for (const [name, value] of Object.entries(fields)) {
    if (name === 'headers') continue;
    delete fields[name];
    fields[`outer ${name}`] = value;
  }
}

function readEthernet(view: DataView, start: number, end: number, fields: Writable): void {
  if (end - start < ETHERNET_BYTES) return;
  fields.headers += ' ethernet';
  fields['source MAC'] = formatMac(sourceMacHigh(view, start), sourceMacLow(view, start));
  fields['destination MAC'] = formatMac(destinationMacHigh(view, start), destinationMacLow(view, start));
  const type = ethernetType(view, start);
  if (type === ETHERTYPE_ARP) fields.headers += ' arp';
  if (type === ETHERTYPE_IPV4) readIpv4(view, start + ETHERNET_BYTES, end, fields);
}

function readIpv4(view: DataView, l3: number, end: number, fields: Writable): void {
  if (end - l3 < IPV4_MIN_BYTES || ipVersion(view, l3) !== IPV4) return;
  const l4 = l3 + ipv4HeaderBytes(view, l3);
  const protocol = ipv4Protocol(view, l3);
  fields.headers += ' ipv4';
  fields.src = formatIpv4(ipv4Source(view, l3));
  fields.dst = formatIpv4(ipv4Destination(view, l3));
  fields.TTL = String(ipv4Ttl(view, l3));
  fields['IP length'] = String(ipv4TotalLength(view, l3));
  fields['IP checksum'] = hex(ipv4StoredChecksum(view, l3));
  if (protocol === PROTOCOL_IPIP && end - l4 >= IPV4_MIN_BYTES) {
    makeOuter(fields);
    readIpv4(view, l4, end, fields);
    return;
  }
  fields.headers += ` ${protocolName(protocol)}`;
  if (ipv4FragmentOffset(ipv4FragmentWord(view, l3)) !== 0) return;
  readTransport(view, l4, end, protocol, fields);
}

function readTransport(view: DataView, l4: number, end: number, protocol: number, fields: Writable): void {
  const room = end - l4;
  if (hasPorts(protocol) && room >= PORTS_BYTES) {
    fields.src += `:${sourcePort(view, l4)}`;
    fields.dst += `:${destinationPort(view, l4)}`;
  }
  if (protocol === PROTOCOL_TCP && room >= TCP_MIN_BYTES) {
    fields['TCP checksum'] = hex(tcpChecksum(view, l4));
    readTcpOptions(view, l4, Math.min(end, l4 + tcpHeaderBytes(view, l4)));
    const { mssOffset } = tcpOptions;
    if (mssOffset > 0) fields.MSS = String(optionMss(view, mssOffset - OPTION_HEADER_BYTES));
  } else if (protocol === PROTOCOL_UDP && room >= UDP_BYTES) {
    if (carriesVxlan(view, l4, end)) {
      const header = l4 + UDP_BYTES;
      fields.headers += ' vxlan';
      makeOuter(fields);
      fields.VNI = String(vxlanNetwork(view, header));
      readEthernet(view, header + VXLAN_BYTES, end, fields);
    } else fields['UDP checksum'] = hex(udpChecksum(view, l4));
  } else if (protocol === PROTOCOL_ICMP && room >= ICMP_BYTES) {
    fields.ICMP = icmpName(icmpType(view, l4), 0);
    if (icmpQueryType(icmpType(view, l4)) >= 0) fields.identifier = String(icmpIdentifier(view, l4));
    fields['ICMP checksum'] = hex(icmpChecksum(view, l4));
  }
}

/**
 * The fields that differ, with their values before and after; undefined if none do. A field may exist on one side only.
 */
export function changedFields(
  before: FrameFields,
  after: FrameFields,
): { before: FrameFields; after: FrameFields } | undefined {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (name) => before[name] !== after[name],
  );
  if (names.length === 0) return undefined;
  const only = (fields: FrameFields): FrameFields =>
    Object.fromEntries(names.filter((name) => fields[name] !== undefined).map((name) => [name, fields[name]!]));
  return { before: only(before), after: only(after) };
}
