/**
 * The transport segment of a captured frame, also one inside the overlay. Accepts any bytes; fragments and frames that
 * end within a header have no segment.
 */
import { PROTOCOL_IPIP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, ethernetType } from '../../../native-free-dataplane/wire/ethernet.ts';
import {
  IPV4_MIN_BYTES,
  ipv4Destination,
  ipv4FragmentWord,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
  ipv4TotalLength,
  isIpv4Fragment,
} from '../../../native-free-dataplane/wire/ipv4.ts';
import { destinationPort, sourcePort } from '../../../native-free-dataplane/wire/ports.ts';
import { TCP_MIN_BYTES, tcpHeaderBytes } from '../../../native-free-dataplane/wire/tcp.ts';
import { UDP_BYTES } from '../../../native-free-dataplane/wire/udp.ts';
import { carriesVxlan, VXLAN_BYTES } from '../../../native-free-dataplane/wire/vxlan.ts';

export interface SegmentEnd {
  readonly ip: string;
  readonly port: number;
}

export interface Segment {
  /** TCP or UDP. */
  readonly protocol: number;
  readonly source: SegmentEnd;
  readonly destination: SegmentEnd;
  /** What of the payload was captured. */
  readonly payload: Uint8Array;
}

/** Overlays within overlays that are opened. */
const MAX_DEPTH = 2;

/** The innermost segment of an Ethernet frame. */
export function readSegment(bytes: Uint8Array): Segment | undefined {
  return inEthernet(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, MAX_DEPTH);
}

function inEthernet(view: DataView, at: number, depth: number): Segment | undefined {
  if (view.byteLength - at < ETHERNET_BYTES || ethernetType(view, at) !== ETHERTYPE_IPV4) return undefined;
  return inIpv4(view, at + ETHERNET_BYTES, depth);
}

function inIpv4(view: DataView, l3: number, depth: number): Segment | undefined {
  const { byteLength } = view;
  if (byteLength - l3 < IPV4_MIN_BYTES || isIpv4Fragment(ipv4FragmentWord(view, l3))) return undefined;
  const protocol = ipv4Protocol(view, l3);
  const l4 = l3 + ipv4HeaderBytes(view, l3);
  if (protocol === PROTOCOL_IPIP) return depth > 0 ? inIpv4(view, l4, depth - 1) : undefined;
  const headerBytes = protocol === PROTOCOL_TCP ? TCP_MIN_BYTES : protocol === PROTOCOL_UDP ? UDP_BYTES : undefined;
  if (headerBytes === undefined || byteLength - l4 < headerBytes) return undefined;
  if (protocol === PROTOCOL_UDP && depth > 0 && carriesVxlan(view, l4, byteLength)) {
    return inEthernet(view, l4 + UDP_BYTES + VXLAN_BYTES, depth - 1);
  }
  const payload = l4 + (protocol === PROTOCOL_TCP ? tcpHeaderBytes(view, l4) : UDP_BYTES);
  // The total length of a super-packet may be 0. A short frame has padding behind its packet (IEEE 802.3 §3.2.8).
  const total = ipv4TotalLength(view, l3);
  const end = total === 0 ? byteLength : Math.min(byteLength, l3 + total);
  if (payload > end) return undefined;
  return {
    protocol,
    source: { ip: formatIpv4(ipv4Source(view, l3)), port: sourcePort(view, l4) },
    destination: { ip: formatIpv4(ipv4Destination(view, l3)), port: destinationPort(view, l4) },
    payload: new Uint8Array(view.buffer, view.byteOffset + payload, end - payload),
  };
}
