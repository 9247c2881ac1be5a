/**
 * Classic pcap: layout, variants and their meaning. Bytes only.
 *
 *   file header, 24 bytes: magic · major · minor · reserved · reserved · snap length · FCS and link type
 *   record header, 16:     seconds · fraction · captured bytes · original bytes, then the frame
 *
 * Read before editing: draft-ietf-opsawg-pcap; libpcap sf-pcap.c for variants that the draft does not cover: the
 * modified record header of some Linux distributions (magic a1b2cd34, 24 bytes), and files before version 2.3, which
 * have the two lengths in reverse order (version 2.3 itself: in either order).
 */
import {
  type CapturedFrame,
  type CaptureInterface,
  LINKTYPE_ETHERNET,
  MAX_CAPTURED_BYTES,
  NO_OPTIONS,
} from './frame.ts';

const MAGIC_MICRO = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
const MAGIC_MODIFIED = 0xa1b2cd34;

export const PCAP_HEADER_BYTES = 24;
const MAJOR = 4;
const MINOR = 6;
const SNAP = 16;
const LINK = 20;
/**
 * Link type in the low 16 bits; bits 28 to 31 are the FCS length in 16-bit words, valid when bit 26 is set (draft §4).
 */
const LINK_MASK = 0xffff;
const FCS_VALID = 1 << 26;
const FCS_SHIFT = 28;

const RECORD_BYTES = 16;
/** Interface index, protocol, packet type and a padding byte follow the usual record header. */
const MODIFIED_RECORD_BYTES = 24;
const SECONDS = 0;
const FRACTION = 4;
const CAPTURED = 8;
const ORIGINAL = 12;

const ETHERNET_HEADER_BYTES = 14;

/** Order of the two lengths in a record header. */
const Lengths = { CAPTURED_FIRST: 0, ORIGINAL_FIRST: 1, EITHER: 2 } as const;

/** Properties of a classic pcap file, from its header. */
export interface PcapFile {
  readonly little: boolean;
  readonly perSecond: number;
  readonly recordBytes: number;
  readonly lengths: number;
  readonly source: CaptureInterface;
}

/** Does the file begin with one of pcap's magic numbers? */
export function isPcap(view: DataView, at: number): boolean {
  return isMagic(view.getUint32(at)) || isMagic(view.getUint32(at, true));
}

function isMagic(word: number): boolean {
  return word === MAGIC_MICRO || word === MAGIC_NANO || word === MAGIC_MODIFIED;
}

/** The file's properties from its first PCAP_HEADER_BYTES, or the reason it cannot be read. */
export function readPcapHeader(view: DataView, at: number): PcapFile | string {
  const little = isMagic(view.getUint32(at, true));
  const magic = view.getUint32(at, little);
  const major = view.getUint16(at + MAJOR, little);
  const minor = view.getUint16(at + MINOR, little);
  // Version 543.0 was written by DG/UX's tcpdump.
  const dgux = major === 543 && minor === 0;
  if (!dgux && (major !== 2 || minor > 4)) return `pcap version ${major}.${minor} is not supported (2.0 to 2.4 are)`;
  const link = view.getUint32(at + LINK, little);
  const snap = view.getUint32(at + SNAP, little);
  // A modified pcap may have been captured in cooked mode, with Ethernet headers made up and not counted in the
  // lengths.
  const madeUp = magic === MAGIC_MODIFIED && (link & LINK_MASK) === LINKTYPE_ETHERNET ? ETHERNET_HEADER_BYTES : 0;
  return {
    little,
    perSecond: magic === MAGIC_NANO ? 1e9 : 1e6,
    recordBytes: magic === MAGIC_MODIFIED ? MODIFIED_RECORD_BYTES : RECORD_BYTES,
    lengths: dgux || minor < 3 ? Lengths.ORIGINAL_FIRST : minor === 3 ? Lengths.EITHER : Lengths.CAPTURED_FIRST,
    source: {
      linkType: link & LINK_MASK,
      snapBytes: snap === 0 ? 0 : snap + madeUp,
      fcsBytes: (link & FCS_VALID) !== 0 ? (link >>> FCS_SHIFT) * 2 : 0,
      name: '',
      description: '',
    },
  };
}

/** Captured bytes of the record at `at`; its header must be complete. */
export function pcapCapturedBytes(view: DataView, at: number, file: PcapFile): number {
  const first = view.getUint32(at + CAPTURED, file.little);
  const second = view.getUint32(at + ORIGINAL, file.little);
  return lengthsSwapped(file, first, second) ? second : first;
}

function lengthsSwapped(file: PcapFile, first: number, second: number): boolean {
  return file.lengths === Lengths.ORIGINAL_FIRST || (file.lengths === Lengths.EITHER && first > second);
}

/** The record at `at`, which must be complete. */
export function readPcapRecord(bytes: Uint8Array, view: DataView, at: number, file: PcapFile): CapturedFrame {
  const { little, perSecond } = file;
  const captured = pcapCapturedBytes(view, at, file);
  const sum = view.getUint32(at + CAPTURED, little) + view.getUint32(at + ORIGINAL, little);
  // A fraction of a second or more is harmless: it is carried over.
  const fraction = view.getUint32(at + FRACTION, little);
  const from = at + file.recordBytes;
  // Bytes beyond the file's own snap length are not part of the frame (libpcap truncates it as well).
  const { snapBytes } = file.source;
  return {
    bytes: bytes.subarray(from, from + (snapBytes !== 0 && snapBytes < captured ? snapBytes : captured)),
    originalBytes: sum - captured,
    seconds: view.getUint32(at + SECONDS, little) + Math.floor(fraction / perSecond),
    nanoseconds: (fraction % perSecond) * (1e9 / perSecond),
    source: file.source,
    options: NO_OPTIONS,
  };
}

/** File header for records of `pcapRecord`: little-endian, nanoseconds, version 2.4. */
export function pcapHeader(linkType: number): Uint8Array {
  const bytes = new Uint8Array(PCAP_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANO, true);
  view.setUint16(MAJOR, 2, true);
  view.setUint16(MINOR, 4, true);
  view.setUint32(SNAP, MAX_CAPTURED_BYTES, true);
  view.setUint32(LINK, linkType, true);
  return bytes;
}

/**
 * One record: its header and a copy of the frame.
 * @param seconds,nanoseconds since 1970, and within the second
 * @param originalBytes length on the wire, if the frame was truncated
 */
export function pcapRecord(
  frame: Uint8Array,
  seconds: number,
  nanoseconds: number,
  originalBytes: number = frame.length,
): Uint8Array {
  const bytes = new Uint8Array(RECORD_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(SECONDS, seconds, true);
  view.setUint32(FRACTION, nanoseconds, true);
  view.setUint32(CAPTURED, frame.length, true);
  view.setUint32(ORIGINAL, originalBytes, true);
  bytes.set(frame, RECORD_BYTES);
  return bytes;
}
