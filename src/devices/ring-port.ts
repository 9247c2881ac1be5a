/**
 * The port to a raw socket owned by another thread: an overlay's packets leave through one ring and arrive through
 * another.
 *
 * Outward, the pipeline's frame starts with an Ethernet header for the node's kernel and an outer IP header. The raw
 * socket's kernel writes the outer header itself, so only the inner packet goes into the ring, tagged with its
 * destination address. Inward, the ring holds what the raw socket received, outer header first, and an Ethernet header
 * is put in front as the node's kernel would do.
 */
import { FRAME_AT } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../../native-free-dataplane/wire/ethernet.ts';
import { IPV4_MIN_BYTES, ipv4Destination } from '../../native-free-dataplane/wire/ipv4.ts';
import { read } from '../linux/ffi.ts';
import type { PacketRing } from './packet-ring.ts';
import { type Port, Read, Write } from './port.ts';

/** The two rings of the port, and how their ends are woken. */
export interface RingPortOptions {
  readonly index: number;
  /** eventfd that is written when packets have been added to the inward ring. */
  readonly fd: number;
  readonly outward: PacketRing;
  readonly inward: PacketRing;
  /** Numeric address of 8 bytes to read the eventfd into. */
  readonly scratch: number;
  /** Wakes the reader of the outward ring. */
  readonly wake: () => void;
}

/** The worker's end of the two rings. */
export class RingPort implements Port {
  readonly index: number;
  readonly fd: number;
  lastBatch = 0;
  private readonly options: RingPortOptions;

  constructor(options: RingPortOptions) {
    this.index = options.index;
    this.fd = options.fd;
    this.options = options;
  }

  read(pkt: Packet): number {
    const { inward, fd, scratch } = this.options;
    if (!inward.next()) {
      // Clear the eventfd first: a packet that arrives after this check makes it ready again.
      read(fd, scratch, 8);
      if (!inward.next()) return Read.EMPTY;
    }
    const { at, length } = inward;
    pkt.bytes.set(inward.bytes.subarray(at, at + length), FRAME_AT + ETHERNET_BYTES);
    inward.release();
    pkt.reset(FRAME_AT, FRAME_AT + ETHERNET_BYTES + length, 0);
    writeDestinationMac(pkt.view, FRAME_AT, 0, 0);
    writeSourceMac(pkt.view, FRAME_AT, 0, 0);
    writeEthernetType(pkt.view, FRAME_AT, ETHERTYPE_IPV4);
    return Read.FRAME;
  }

  write(pkt: Packet): number {
    const { outward, wake } = this.options;
    const outer = pkt.start + ETHERNET_BYTES;
    const to = ipv4Destination(pkt.view, outer);
    if (!outward.push(to, pkt.bytes, outer + IPV4_MIN_BYTES, pkt.end)) return Write.FULL;
    if (outward.wantsWaking()) wake();
    return Write.SENT;
  }
}
