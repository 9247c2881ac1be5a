/**
 * Complete frames from values, for tests: every length and checksum is correct unless specified otherwise. Not
 * optimized for speed or memory; frame-text.ts is the convenient interface.
 */
import { PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { addressFamily, macWords } from '../../../native-free-dataplane/wire/address.ts';
import { fold16 } from '../../../native-free-dataplane/wire/checksum.ts';
import {
  ETHERTYPE_VLAN,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../../../native-free-dataplane/wire/ethernet.ts';
import {
  emitIpv4,
  IPV4_DONT_FRAGMENT,
  IPV4_MORE_FRAGMENTS,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  writeIpv4Addresses,
  writeIpv4Checksum,
} from '../../../native-free-dataplane/wire/ipv4.ts';
import { emitIpv6 } from '../../../native-free-dataplane/wire/ipv6.ts';
import { pseudoHeaderSum, transportChecksum } from '../../../native-free-dataplane/wire/transport-checksum.ts';

export interface FrameOptions {
  /** MACs as text. Defaults: source 0a:58 and the IPv4 source, destination that of the gateway of its /24. */
  srcMac?: string;
  dstMac?: string;
  /** 802.1Q tag. */
  vlan?: number;
  /** IPv4 type of service: DSCP and ECN; 0. */
  service?: number;
  /** Time to live or hop limit; 64. */
  ttl?: number;
  /** IPv4 identification; 0. */
  id?: number;
  /** Do not fragment; true unless the packet is a fragment. */
  df?: boolean;
  /** Bytes, a multiple of 8. A later fragment has no transport header. */
  fragmentOffset?: number;
  moreFragments?: boolean;
  /** IPv4 options, a multiple of 4 bytes. */
  ipOptions?: Uint8Array;
  /** Bytes, text, or a number of bytes of a fixed pattern. */
  payload?: Uint8Array | string | number;
  seq?: number;
  ack?: number;
  win?: number;
  /** As printed: `mss 1460, sackOK, ts 1 0, nop, wscale 7`; or raw bytes, a multiple of 4. */
  tcpOptions?: string | Uint8Array;
  /** Leave the transport checksum pending: the field holds the folded pseudo-header sum (NEEDS_CSUM). */
  partial?: boolean;
  /** false: UDP without a checksum. */
  udpChecksum?: boolean;
  /** Bytes of the packet that an ICMP error quotes; all of it by default. */
  quotedBytes?: number;
  /** Options of the packet quoted in an ICMP error. */
  quoted?: FrameOptions;
  /** Options of the outer headers, if the text is a VXLAN or IP-in-IP packet. */
  outer?: FrameOptions;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function payloadBytes(payload: FrameOptions['payload']): Uint8Array {
  if (payload === undefined) return new Uint8Array(0);
  if (typeof payload === 'string') return new TextEncoder().encode(payload);
  if (typeof payload === 'number') return Uint8Array.from({ length: payload }, (_, i) => (i * 7 + 1) & 0xff);
  return payload;
}

/** MAC of a pod or gateway by its address: 0a:58 and the last four bytes. */
export function macOf(address: Int32Array): string {
  const low = address[3] ?? 0;
  const hex = (low >>> 0).toString(16).padStart(8, '0');
  return `0a:58:${hex.match(/../g)?.join(':')}`;
}

/** MAC of the gateway of the address's /24. */
export function gatewayMacOf(address: Int32Array): string {
  return macOf(Int32Array.of(0, 0, 0, ((address[3] ?? 0) & ~0xff) | 1));
}

/**
 * An IP packet around a transport header and its payload.
 * @param checksumField offset of the checksum in `transport`, -1 for none
 */
export function ipPacket(
  src: Int32Array,
  dst: Int32Array,
  protocol: number,
  transport: Uint8Array,
  checksumField: number,
  options: FrameOptions,
): Uint8Array {
  const ipv4 = addressFamily(src) === 4;
  const ipOptions = (ipv4 && options.ipOptions) || new Uint8Array(0);
  const headerBytes = (ipv4 ? 20 : 40) + ipOptions.length;
  const packet = new Uint8Array(headerBytes + transport.length);
  const view = viewOf(packet);
  packet.set(transport, headerBytes);
  const ttl = options.ttl ?? 64;
  if (ipv4) {
    const offset = options.fragmentOffset ?? 0;
    const fragment = offset !== 0 || options.moreFragments === true;
    const flags =
      ((options.df ?? !fragment) ? IPV4_DONT_FRAGMENT : 0) | (options.moreFragments ? IPV4_MORE_FRAGMENTS : 0);
    writeIpv4Addresses(view, 0, src[3] ?? 0, dst[3] ?? 0);
    emitIpv4(view, 0, packet.length, protocol);
    view.setUint8(0, 0x40 | (headerBytes >> 2));
    view.setUint8(1, options.service ?? 0);
    view.setUint16(4, options.id ?? 0);
    view.setUint16(6, flags | (offset >> 3));
    view.setUint8(8, ttl);
    packet.set(ipOptions, 20);
    writeIpv4Checksum(view, 0, headerBytes);
  } else {
    emitIpv6(view, 0, transport.length, protocol, src, dst);
    view.setUint8(7, ttl);
  }
  if (checksumField < 0 || (options.fragmentOffset ?? 0) !== 0) return packet;

  const field = headerBytes + checksumField;
  view.setUint16(field, 0);
  if (options.partial) view.setUint16(field, fold16(pseudoHeaderSum(view, 0, protocol, transport.length)));
  else if (protocol !== PROTOCOL_UDP || options.udpChecksum !== false) {
    const sum = transportChecksum(view, 0, headerBytes, packet.length, protocol);
    view.setUint16(field, protocol === PROTOCOL_UDP && sum === 0 ? 0xffff : sum);
  }
  return packet;
}

/** An Ethernet frame around a payload of this type. */
export function ethernetFrame(
  srcMac: string,
  dstMac: string,
  type: number,
  payload: Uint8Array,
  vlan?: number,
): Uint8Array {
  const [src, dst] = [macWords(srcMac), macWords(dstMac)];
  const header = new Uint8Array(14);
  const view = viewOf(header);
  writeDestinationMac(view, 0, dst.high, dst.low);
  writeSourceMac(view, 0, src.high, src.low);
  writeEthernetType(view, 0, vlan === undefined ? type : ETHERTYPE_VLAN);
  if (vlan === undefined) return concat(header, payload);
  return concat(header, Uint8Array.of(vlan >> 8, vlan & 0xff, type >> 8, type & 0xff), payload);
}

/** An untagged IPv4 frame cut into fragments, each packet at most `mtu` bytes long (RFC 791 §3.2). */
export function fragments(frame: Uint8Array, mtu: number): Uint8Array[] {
  const headerBytes = ipv4HeaderBytes(viewOf(frame), 14);
  const header = frame.subarray(0, 14 + headerBytes);
  const payload = frame.subarray(14 + headerBytes);
  const step = (mtu - headerBytes) & ~7;
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += step) {
    const piece = concat(header, payload.subarray(at, at + step));
    const view = viewOf(piece);
    const more = at + step < payload.length ? IPV4_MORE_FRAGMENTS : ipv4FragmentWord(view, 14) & IPV4_MORE_FRAGMENTS;
    view.setUint16(14 + 2, piece.length - 14);
    view.setUint16(14 + 6, more | ((ipv4FragmentWord(view, 14) & 0x1fff) + (at >> 3)));
    writeIpv4Checksum(view, 14, headerBytes);
    pieces.push(piece);
  }
  return pieces;
}
