/** Loads a frame into a packet descriptor, as a worker does after a read. */
import { GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, type Packet } from '../../../native-free-dataplane/packet.ts';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';

export interface LoadOptions {
  /** Offset of the Ethernet header; 258, so that the IP header is 4-aligned. */
  at?: number;
  /** The transport checksum is pending: build the frame with `partial` too. */
  partial?: boolean;
  /** The frame is a TCP or UDP super-packet with this segment size; implies partial. */
  gsoSize?: number;
}

/** Copy an untagged frame into the packet's arena and reset the descriptor for it, offload fields included. */
export function loadFrame(pkt: Packet, frame: Uint8Array, inPort: number, options: LoadOptions = {}): void {
  const at = options.at ?? 258;
  pkt.bytes.set(frame, at);
  pkt.reset(at, at + frame.length, inPort);
  if (!options.partial && options.gsoSize === undefined) return;
  const v6 = pkt.view.getUint16(at + 12) === 0x86dd;
  const protocol = pkt.view.getUint8(at + (v6 ? 20 : 23));
  const tcp = protocol === PROTOCOL_TCP;
  pkt.needsChecksum = 1;
  pkt.checksumStart = at + 14 + (v6 ? 40 : (pkt.view.getUint8(at + 14) & 15) << 2);
  pkt.checksumOffset = tcp ? 16 : 6;
  if (options.gsoSize === undefined) return;
  pkt.gsoType = tcp ? (v6 ? GSO_TCPV6 : GSO_TCPV4) : GSO_UDP_L4;
  pkt.gsoSize = options.gsoSize;
  pkt.headersEnd = pkt.checksumStart + (tcp ? (pkt.view.getUint8(pkt.checksumStart + 12) >> 4) << 2 : 8);
}
