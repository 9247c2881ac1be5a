/**
 * Reads the sections of a pcapng file block by block. It gets complete blocks only (reader.ts waits for them).
 *
 * Rejected, as by libpcap: versions other than 1.0 and 1.2, a section header or interface description that is too
 * short, interface options that extend beyond their block, two that contradict each other, a time resolution that
 * cannot be represented. Blocks of unknown type are skipped (draft-ietf-opsawg-pcapng §3.1). If a packet's options
 * extend beyond their block, the options are dropped and the packet is kept: libpcap does not read them at all.
 */
import {
  type CapturedFrame,
  type CaptureInterface,
  type FrameOptions,
  MAX_CAPTURED_BYTES,
  NO_OPTIONS,
} from './frame.ts';
import {
  BLOCK_HEAD_BYTES,
  BLOCK_TAIL_BYTES,
  Block,
  BYTE_ORDER_MAGIC,
  EnhancedField,
  InterfaceField,
  InterfaceOption,
  MAX_BLOCK_BYTES,
  NO_DROP_COUNT,
  OPTION_HEAD_BYTES,
  Option,
  PacketField,
  PacketOption,
  padded,
  SectionField,
  SimpleField,
  timeOfUnits,
} from './pcapng-format.ts';
import { decodeUtf8 } from './utf8.ts';

/** Interfaces per section; limits the memory that a malicious file can use. */
const MAX_INTERFACES = 65536;
/** Bytes kept of an interface's name and of its description. */
const MAX_NAME_BYTES = 256;

interface Interface extends CaptureInterface {
  /** Time stamp units per second, and the offset added to them (if_tsresol, if_tsoffset). */
  readonly perSecond: number;
  readonly offsetSeconds: number;
}

/** Called with an option's code and the position of its value. */
type OptionVisitor = (code: number, from: number, bytes: number) => string;

/** Reads blocks one after another; keeps the byte order and the interfaces of the current section. */
export class PcapngReader {
  private little = true;
  private interfaces: Interface[] = [];

  /**
   * Length of the block that begins at `at`.
   * @returns bytes; 0 if more of the file is needed to determine it; a text if the block cannot be read
   */
  blockBytes(view: DataView, at: number, end: number): number | string {
    if (end - at < BLOCK_HEAD_BYTES) return 0;
    if (view.getUint32(at) === Block.SECTION) {
      const body = at + BLOCK_HEAD_BYTES;
      if (end - body < SectionField.BYTES) return 0;
      // A section declares its own byte order.
      if (view.getUint32(body, true) === BYTE_ORDER_MAGIC) this.little = true;
      else if (view.getUint32(body) === BYTE_ORDER_MAGIC) this.little = false;
      else return 'section header without a byte order';
    }
    const bytes = view.getUint32(at + 4, this.little);
    if (bytes < BLOCK_HEAD_BYTES + BLOCK_TAIL_BYTES || (bytes & 3) !== 0) return `block of ${bytes} bytes`;
    if (bytes > MAX_BLOCK_BYTES) return `block of ${bytes} bytes (at most ${MAX_BLOCK_BYTES} are read)`;
    return bytes;
  }

  /**
   * Read the complete block at `at`.
   * @returns its frame; undefined if it contains none; a text if it cannot be read
   */
  readBlock(file: Uint8Array, view: DataView, at: number, bytes: number): CapturedFrame | undefined | string {
    const tail = at + bytes - BLOCK_TAIL_BYTES;
    const again = view.getUint32(tail, this.little);
    if (again !== bytes) return `block of ${bytes} bytes that ends as one of ${again}`;
    const body = at + BLOCK_HEAD_BYTES;
    switch (view.getUint32(at, this.little)) {
      case Block.SECTION:
        return this.readSection(view, body, tail);
      case Block.INTERFACE:
        return this.readInterface(file, view, body, tail);
      case Block.ENHANCED_PACKET:
        return this.readPacket(file, view, body, tail, false);
      case Block.PACKET:
        return this.readPacket(file, view, body, tail, true);
      case Block.SIMPLE_PACKET:
        return this.readSimplePacket(file, view, body, tail);
      default:
        return undefined;
    }
  }

  private readSection(view: DataView, body: number, tail: number): undefined | string {
    if (tail - body < SectionField.BYTES) return 'section header cut short';
    const major = view.getUint16(body + SectionField.MAJOR, this.little);
    const minor = view.getUint16(body + SectionField.MINOR, this.little);
    if (major !== 1 || (minor !== 0 && minor !== 2))
      return `pcapng version ${major}.${minor} is not supported (1.0 is)`;
    // Interface numbers start at 0 in each section.
    this.interfaces = [];
    return undefined;
  }

  private readInterface(file: Uint8Array, view: DataView, body: number, tail: number): undefined | string {
    if (tail - body < InterfaceField.BYTES) return 'interface description cut short';
    if (this.interfaces.length === MAX_INTERFACES) return `more than ${MAX_INTERFACES} interfaces`;
    let perSecond = 0;
    let offsetSeconds: number | undefined;
    let fcsBytes = 0;
    let name = '';
    let description = '';
    const text = (from: number, bytes: number) =>
      decodeUtf8(file.subarray(from, from + Math.min(bytes, MAX_NAME_BYTES)));
    const damage = this.options(view, body + InterfaceField.BYTES, tail, (code, from, bytes) => {
      if (code === InterfaceOption.NAME) name = text(from, bytes);
      else if (code === InterfaceOption.DESCRIPTION) description = text(from, bytes);
      else if (code === InterfaceOption.FCS_LENGTH && bytes === 1) fcsBytes = file[from];
      else if (code === InterfaceOption.TIME_RESOLUTION) {
        if (bytes !== 1) return `time resolution of ${bytes} bytes`;
        if (perSecond !== 0) return 'interface with two time resolutions';
        perSecond = unitsPerSecond(file[from]);
        if (perSecond === 0) return `time resolution ${file[from]} is too fine`;
      } else if (code === InterfaceOption.TIME_OFFSET) {
        if (bytes !== 8) return `time offset of ${bytes} bytes`;
        if (offsetSeconds !== undefined) return 'interface with two time offsets';
        offsetSeconds = Number(view.getBigInt64(from, this.little));
      }
      return '';
    });
    if (damage !== '') return `${damage}, in an interface description`;
    this.interfaces.push({
      linkType: view.getUint16(body + InterfaceField.LINK_TYPE, this.little),
      snapBytes: view.getUint32(body + InterfaceField.SNAP, this.little),
      fcsBytes,
      name,
      description,
      perSecond: perSecond === 0 ? 1e6 : perSecond,
      offsetSeconds: offsetSeconds ?? 0,
    });
    return undefined;
  }

  /** An enhanced packet block, or the obsolete packet block, which differs in its first word. */
  private readPacket(
    file: Uint8Array,
    view: DataView,
    body: number,
    tail: number,
    obsolete: boolean,
  ): CapturedFrame | string {
    const { little } = this;
    const from = body + EnhancedField.BYTES;
    if (from > tail) return 'packet block cut short';
    const number = obsolete
      ? view.getUint16(body + PacketField.INTERFACE, little)
      : view.getUint32(body + EnhancedField.INTERFACE, little);
    const source = this.interfaces[number];
    if (source === undefined) return `packet of interface ${number}, which the file does not describe`;
    const captured = view.getUint32(body + EnhancedField.CAPTURED, little);
    if (captured > MAX_CAPTURED_BYTES || captured > tail - from) return `packet of ${captured} bytes`;
    const high = view.getUint32(body + EnhancedField.HIGH, little);
    const low = view.getUint32(body + EnhancedField.LOW, little);
    const drops = obsolete ? view.getUint16(body + PacketField.DROPS, little) : NO_DROP_COUNT;
    return {
      bytes: file.subarray(from, from + captured),
      originalBytes: view.getUint32(body + EnhancedField.ORIGINAL, little),
      ...timeOfUnits(high, low, source.perSecond, source.offsetSeconds),
      source,
      options: this.packetOptions(file, view, from + padded(captured), tail, drops),
    };
  }

  private readSimplePacket(file: Uint8Array, view: DataView, body: number, tail: number): CapturedFrame | string {
    const from = body + SimpleField.BYTES;
    if (from > tail) return 'packet block cut short';
    const source = this.interfaces[0];
    if (source === undefined) return 'simple packet of an interface that the file does not describe';
    const originalBytes = view.getUint32(body + SimpleField.ORIGINAL, this.little);
    const captured = source.snapBytes !== 0 && originalBytes > source.snapBytes ? source.snapBytes : originalBytes;
    if (captured > MAX_CAPTURED_BYTES || captured > tail - from) return `packet of ${captured} bytes`;
    return {
      bytes: file.subarray(from, from + captured),
      originalBytes,
      seconds: 0,
      nanoseconds: 0,
      source,
      options: NO_OPTIONS,
    };
  }

  private packetOptions(file: Uint8Array, view: DataView, at: number, tail: number, drops: number): FrameOptions {
    if (at >= tail && drops === NO_DROP_COUNT) return NO_OPTIONS;
    const { little } = this;
    const found: { -readonly [K in keyof FrameOptions]: FrameOptions[K] } = {};
    if (drops !== NO_DROP_COUNT) found.dropCount = drops;
    const comments: string[] = [];
    const verdicts: { type: number; bytes: Uint8Array }[] = [];
    const damage = this.options(view, at, tail, (code, from, bytes) => {
      if (code === Option.COMMENT) comments.push(decodeUtf8(file.subarray(from, from + bytes)));
      else if (code === PacketOption.FLAGS && bytes === 4) found.flags = view.getUint32(from, little);
      else if (code === PacketOption.QUEUE && bytes === 4) found.queue = view.getUint32(from, little);
      else if (code === PacketOption.PACKET_ID && bytes === 8) {
        found.packetId = Number(view.getBigUint64(from, little));
      } else if (code === PacketOption.DROP_COUNT && bytes === 8) {
        found.dropCount = Number(view.getBigUint64(from, little));
      } else if (code === PacketOption.VERDICT && bytes >= 1) {
        verdicts.push({ type: file[from], bytes: file.subarray(from + 1, from + bytes) });
      }
      return '';
    });
    if (damage !== '') return drops === NO_DROP_COUNT ? NO_OPTIONS : { dropCount: drops };
    if (comments.length > 0) found.comments = comments;
    if (verdicts.length > 0) found.verdicts = verdicts;
    return found;
  }

  /** Visit the options between `at` and `end`; returns '' or what is wrong with them. */
  private options(view: DataView, start: number, end: number, visit: OptionVisitor): string {
    for (let at = start; at < end; ) {
      if (end - at < OPTION_HEAD_BYTES) return 'option cut short';
      const code = view.getUint16(at, this.little);
      const bytes = view.getUint16(at + 2, this.little);
      if (code === Option.END) return bytes === 0 ? '' : `end of options of ${bytes} bytes`;
      const from = at + OPTION_HEAD_BYTES;
      if (padded(bytes) > end - from) return 'option that leaves its block';
      const damage = visit(code, from, bytes);
      if (damage !== '') return damage;
      at = from + padded(bytes);
    }
    return '';
  }
}

/** if_tsresol: a negative power of ten, or of two if the upper bit is set; 0 if a 64-bit count cannot hold a second. */
function unitsPerSecond(resolution: number): number {
  const exponent = resolution & 0x7f;
  if ((resolution & 0x80) !== 0) return exponent > 63 ? 0 : 2 ** exponent;
  return exponent > 19 ? 0 : 10 ** exponent;
}
