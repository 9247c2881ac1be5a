/**
 * One queue of a TAP device: read(2) and write(2) with the virtio-net header in front of the frame.
 *
 * The header is read into the bytes directly before the Ethernet header, and written directly before the frame's
 * current start; nothing is copied.
 */
import { FRAME_AT, SCRATCH_AT } from '../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../native-free-dataplane/packet.ts';
import { readVnetHeader, writeVnetHeader } from '../../native-free-dataplane/wire/vnet-header.ts';
import { EAGAIN, EBADFD, EINTR, EINVAL, EIO, ENOBUFS, ENOMEM, errno, read, write } from '../linux/ffi.ts';
import { type Port, Read, Write } from './port.ts';

/** Largest frame that can be read: a 64 KiB super-packet with headers, ending below the arena's scratch part. */
const READ_BYTES: number = SCRATCH_AT - 1024;

/** One queue of a TAP device. It does not close the descriptor. */
export class TapPort implements Port {
  readonly index: number;
  readonly fd: number;
  lastBatch = 0;
  private readonly headerBytes: number;
  private readonly arena: number;
  private readonly readAt: number;

  /**
   * @param arena numeric address of the worker's arena
   * @param headerBytes 12 or 24, as negotiated when the device was opened
   */
  constructor(index: number, fd: number, headerBytes: number, arena: number) {
    this.index = index;
    this.fd = fd;
    this.headerBytes = headerBytes;
    this.arena = arena;
    this.readAt = FRAME_AT - headerBytes;
  }

  read(pkt: Packet): number {
    const bytes = read(this.fd, this.arena + this.readAt, READ_BYTES);
    if (bytes < 0) {
      const number = errno();
      // A frame for which the kernel cannot build a header (EINVAL) is removed from the queue and lost; the device
      // still works.
      if (number === EINVAL) return Read.INVALID;
      return number === EAGAIN || number === EINTR || number === ENOMEM ? Read.EMPTY : Read.GONE;
    }
    if (bytes <= this.headerBytes) return bytes === 0 ? Read.GONE : Read.INVALID;
    pkt.reset(FRAME_AT, this.readAt + bytes, this.index);
    return readVnetHeader(pkt.view, this.readAt, this.headerBytes, pkt) ? Read.FRAME : Read.INVALID;
  }

  write(pkt: Packet): number {
    const at = pkt.start - this.headerBytes;
    writeVnetHeader(pkt.view, at, this.headerBytes, pkt);
    const bytes = pkt.end - at;
    const written = write(this.fd, this.arena + at, bytes);
    if (written === bytes) return Write.SENT;
    const number = errno();
    if (number === EAGAIN || number === ENOBUFS || number === ENOMEM) return Write.FULL;
    // linux drivers/net/tun.c: EIO from a device that is not up, EBADFD from one that is gone.
    return number === EIO || number === EBADFD ? Write.DOWN : Write.REFUSED;
  }
}
