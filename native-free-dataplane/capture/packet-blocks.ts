/**
 * Packet blocks of a pcapng file, one behind the other in memory that is used again: a capture writes tens of thousands a
 * second, beside the workers that forward. Little-endian, times in nanoseconds. draft-ietf-opsawg-pcapng §4.3.
 */
import type { FrameOptions } from './frame.ts';
import {
  BLOCK_HEAD_BYTES,
  BLOCK_TAIL_BYTES,
  Block,
  EnhancedField,
  nanosecondWords,
  OPTION_HEAD_BYTES,
  PacketOption,
  padded,
} from './pcapng-format.ts';
import { encodedComments } from './pcapng-writer.ts';

/** The properties of a captured frame. */
export interface PacketDescription {
  /** Number of the interface in its section. */
  readonly source: number;
  /** Time since 1970: whole seconds, and nanoseconds within. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Length on the wire, if the frame is truncated. */
  readonly originalBytes?: number;
  readonly options?: Omit<FrameOptions, 'comments'>;
}

const FIRST_BYTES = 65_536;
const WORD = 0x100000000;
/** Bytes of all options with a fixed size, with the end-of-options marker. */
const FIXED_OPTIONS_BYTES: number = 6 * OPTION_HEAD_BYTES + 4 + 8 + 8 + 4;
const NO_COMMENTS = new Uint8Array(0);

export class PacketBlocks {
  private bytes = new Uint8Array(FIRST_BYTES);
  private view = new DataView(this.bytes.buffer);
  private end = 0;

  /** Bytes of the blocks that have been added since the last `take`. */
  get length(): number {
    return this.end;
  }

  /** Add another block of the file. */
  append(block: Uint8Array): void {
    this.reserve(block.length);
    this.bytes.set(block, this.end);
    this.end += block.length;
  }

  /** @param comments of encodedComments */
  add(frame: Uint8Array, packet: PacketDescription, comments: Uint8Array = NO_COMMENTS): void {
    const { options = {} } = packet;
    const verdictBytes = (options.verdicts ?? []).reduce((sum, { bytes }) => sum + bytes.length + 8, 0);
    const most = EnhancedField.BYTES + padded(frame.length) + comments.length + FIXED_OPTIONS_BYTES + verdictBytes;
    this.reserve(BLOCK_HEAD_BYTES + most + BLOCK_TAIL_BYTES);
    const { bytes, view } = this;
    const start = this.end;
    const body = start + BLOCK_HEAD_BYTES;
    const [high, low] = nanosecondWords(packet.seconds, packet.nanoseconds);
    view.setUint32(start, Block.ENHANCED_PACKET, true);
    view.setUint32(body + EnhancedField.INTERFACE, packet.source, true);
    view.setUint32(body + EnhancedField.HIGH, high, true);
    view.setUint32(body + EnhancedField.LOW, low, true);
    view.setUint32(body + EnhancedField.CAPTURED, frame.length, true);
    view.setUint32(body + EnhancedField.ORIGINAL, packet.originalBytes ?? frame.length, true);
    const frameAt = body + EnhancedField.BYTES;
    bytes.set(frame, frameAt);
    const optionsAt = frameAt + padded(frame.length);
    bytes.fill(0, frameAt + frame.length, optionsAt);
    bytes.set(comments, optionsAt);
    this.end = optionsAt + comments.length;
    this.addOptions(options);
    if (this.end > optionsAt) this.addOption(0, 0);
    const total = this.end + BLOCK_TAIL_BYTES - start;
    view.setUint32(start + 4, total, true);
    view.setUint32(this.end, total, true);
    this.end += BLOCK_TAIL_BYTES;
  }

  /** The blocks, until the next `add`. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.end);
    this.end = 0;
    return taken;
  }

  private reserve(more: number): void {
    if (this.end + more <= this.bytes.length) return;
    const bytes = new Uint8Array(Math.max(this.bytes.length * 2, this.end + more));
    bytes.set(this.bytes.subarray(0, this.end));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  private addOptions({ flags, dropCount, packetId, queue, verdicts }: NonNullable<PacketDescription['options']>): void {
    if (flags !== undefined) this.addUint32(PacketOption.FLAGS, flags);
    if (dropCount !== undefined) this.addUint64(PacketOption.DROP_COUNT, dropCount);
    if (packetId !== undefined) this.addUint64(PacketOption.PACKET_ID, packetId);
    if (queue !== undefined) this.addUint32(PacketOption.QUEUE, queue);
    for (const { type, bytes } of verdicts ?? []) {
      const at = this.addOption(PacketOption.VERDICT, 1 + bytes.length);
      this.bytes[at] = type;
      this.bytes.set(bytes, at + 1);
    }
  }

  private addUint32(code: number, value: number): void {
    const at = this.addOption(code, 4);
    this.view.setUint32(at, value, true);
  }

  /** @param value whole, below 2^53 */
  private addUint64(code: number, value: number): void {
    const at = this.addOption(code, 8);
    this.view.setUint32(at, value % WORD, true);
    this.view.setUint32(at + 4, Math.floor(value / WORD), true);
  }

  /** An option with room for its value, whose padding is zero. @returns where the value is */
  private addOption(code: number, length: number): number {
    const { view } = this;
    const at = this.end + OPTION_HEAD_BYTES;
    view.setUint16(this.end, code, true);
    view.setUint16(this.end + 2, length, true);
    if (length > 0) view.setUint32(at + padded(length) - 4, 0, true);
    this.end = at + padded(length);
    return at;
  }
}

/** One packet block, with a copy of the frame. */
export function pcapngPacket(
  frame: Uint8Array,
  packet: PacketDescription & { readonly options?: FrameOptions },
): Uint8Array {
  const blocks = new PacketBlocks();
  blocks.add(frame, packet, encodedComments(packet.options?.comments ?? []));
  return blocks.take();
}
