/**
 * Capture files, bytes in and bytes out: classic pcap of both byte orders and both resolutions, and pcapng as far as
 * its packets go. No I/O. Every length is checked against the file; a file that is cut short or damaged yields the
 * frames in front of the damage and a sentence about it.
 *
 *  pcap:   header 24: magic · version · zone · accuracy · snap length · link type
 *          record 16: seconds · micro- or nanoseconds · captured bytes · original bytes, then the frame
 *  pcapng: block: type · total length · body (padded to 4) · total length again
 *
 * See draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng §4 (SHB, IDB, SPB, EPB); link types: tcpdump.org/linktypes.
 */

export const LINKTYPE_ETHERNET = 1;

/** Frames longer than this are damage, not data (tcpdump's MAXIMUM_SNAPLEN). */
export const MAX_CAPTURED_BYTES = 262144;

export interface CapturedFrame {
  /** Captured bytes: a window on the file, not a copy. */
  readonly bytes: Uint8Array;
  /** Length on the wire; larger than bytes.length when the capture cut it. */
  readonly originalBytes: number;
  /** Time since 1970: whole seconds, and nanoseconds within. Both 0 where the file has no time. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly linkType: number;
}

export interface Capture {
  readonly frames: CapturedFrame[];
  /** What is wrong with the file, or '' when all of it was read. */
  readonly damage: string;
}

const MAGIC_MICRO = 0xa1b2c3d4;
const MAGIC_NANO = 0xa1b23c4d;
const PCAP_HEADER_BYTES = 24;
const PCAP_RECORD_BYTES = 16;

const BLOCK_SECTION = 0x0a0d0d0a;
const BLOCK_INTERFACE = 1;
const BLOCK_SIMPLE_PACKET = 3;
const BLOCK_ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Interface option: resolution of its time stamps. */
const OPTION_TIME_RESOLUTION = 9;

/** Read a capture file of either format. Never throws. */
export function readCapture(file: Uint8Array): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 12) return { frames: [], damage: 'too short for a capture file' };
  const magic = view.getUint32(0);
  if (magic === BLOCK_SECTION) return readPcapng(file, view);
  const little = view.getUint32(0, true);
  if (magic === MAGIC_MICRO || magic === MAGIC_NANO) return readPcap(file, view, false, magic === MAGIC_NANO);
  if (little === MAGIC_MICRO || little === MAGIC_NANO) return readPcap(file, view, true, little === MAGIC_NANO);
  return { frames: [], damage: 'neither pcap nor pcapng' };
}

function readPcap(file: Uint8Array, view: DataView, little: boolean, nano: boolean): Capture {
  const frames: CapturedFrame[] = [];
  if (file.length < PCAP_HEADER_BYTES) return { frames, damage: 'the file header is cut short' };
  // The upper bits tell of frame check sequences (draft-ietf-opsawg-pcap §4).
  const linkType = view.getUint32(20, little) & 0x0fffffff;
  let at = PCAP_HEADER_BYTES;
  while (at < file.length) {
    if (file.length - at < PCAP_RECORD_BYTES) return { frames, damage: `record header cut short at byte ${at}` };
    const captured = view.getUint32(at + 8, little);
    const from = at + PCAP_RECORD_BYTES;
    if (captured > MAX_CAPTURED_BYTES) return { frames, damage: `record of ${captured} bytes at byte ${at}` };
    if (captured > file.length - from) return { frames, damage: `frame cut short at byte ${at}` };
    // A fraction beyond a second is damage that harms nobody: it is carried over.
    const fraction = view.getUint32(at + 4, little);
    const perSecond = nano ? 1e9 : 1e6;
    frames.push({
      bytes: file.subarray(from, from + captured),
      originalBytes: view.getUint32(at + 12, little),
      seconds: view.getUint32(at, little) + Math.floor(fraction / perSecond),
      nanoseconds: (fraction % perSecond) * (1e9 / perSecond),
      linkType,
    });
    at = from + captured;
  }
  return { frames, damage: '' };
}

interface Interface {
  readonly linkType: number;
  readonly snapBytes: number;
  /** Time stamp units per second. */
  readonly perSecond: number;
}

function readPcapng(file: Uint8Array, view: DataView): Capture {
  const frames: CapturedFrame[] = [];
  let little = true;
  let interfaces: Interface[] = [];
  let at = 0;
  while (at < file.length) {
    if (file.length - at < 12) return { frames, damage: `block cut short at byte ${at}` };
    const section = view.getUint32(at) === BLOCK_SECTION;
    if (section) {
      // A section states its own byte order, and its interfaces are numbered anew.
      if (view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC) little = true;
      else if (view.getUint32(at + 8) === BYTE_ORDER_MAGIC) little = false;
      else return { frames, damage: `section without byte order at byte ${at}` };
      interfaces = [];
    }
    const bytes = view.getUint32(at + 4, little);
    if (bytes < 12 || (bytes & 3) !== 0) return { frames, damage: `block of ${bytes} bytes at byte ${at}` };
    if (bytes > file.length - at) return { frames, damage: `block cut short at byte ${at}` };
    const body = at + 8;
    const end = at + bytes - 4;
    const type = view.getUint32(at, little);
    if (type === BLOCK_INTERFACE && end - body >= 8) interfaces.push(readInterface(view, body, end, little));
    else if (type === BLOCK_ENHANCED_PACKET || type === BLOCK_SIMPLE_PACKET) {
      const damage = readPacketBlock(file, view, body, end, little, type, interfaces, frames);
      if (damage !== '') return { frames, damage: `${damage} at byte ${at}` };
    }
    at += bytes;
  }
  return { frames, damage: '' };
}

function readInterface(view: DataView, body: number, end: number, little: boolean): Interface {
  let perSecond = 1e6;
  for (let at = body + 8; end - at >= 4; ) {
    const option = view.getUint16(at, little);
    const bytes = view.getUint16(at + 2, little);
    if (option === 0 || bytes > end - at - 4) break;
    if (option === OPTION_TIME_RESOLUTION && bytes === 1) {
      const exponent = view.getUint8(at + 4);
      perSecond = exponent & 0x80 ? 2 ** (exponent & 0x7f) : 10 ** exponent;
    }
    at += 4 + ((bytes + 3) & ~3);
  }
  return { linkType: view.getUint16(body, little), snapBytes: view.getUint32(body + 4, little), perSecond };
}

/** Append the frame of one packet block; '' or what is wrong with it. */
function readPacketBlock(
  file: Uint8Array,
  view: DataView,
  body: number,
  end: number,
  little: boolean,
  type: number,
  interfaces: readonly Interface[],
  frames: CapturedFrame[],
): string {
  const simple = type === BLOCK_SIMPLE_PACKET;
  const from = body + (simple ? 4 : 20);
  if (from > end) return 'packet block cut short';
  const source = interfaces[simple ? 0 : view.getUint32(body, little)];
  if (source === undefined) return 'packet of an interface that was not described';
  const originalBytes = view.getUint32(simple ? body : body + 16, little);
  let captured = simple ? originalBytes : view.getUint32(body + 12, little);
  if (simple && source.snapBytes !== 0 && captured > source.snapBytes) captured = source.snapBytes;
  if (captured > MAX_CAPTURED_BYTES || captured > end - from) return `packet of ${captured} bytes`;
  let seconds = 0;
  let nanoseconds = 0;
  if (!simple) {
    // 64 bits of units since 1970, in doubles without losing one: a remainder is exact, and the quotient is whole.
    const high = view.getUint32(body + 4, little) * 0x100000000;
    const low = view.getUint32(body + 8, little);
    const { perSecond } = source;
    const rest = high % perSecond;
    const units = rest + low;
    seconds = Math.round((high - rest) / perSecond) + Math.floor(units / perSecond);
    nanoseconds = Math.floor((units % perSecond) * (1e9 / perSecond));
  }
  frames.push({
    bytes: file.subarray(from, from + captured),
    originalBytes,
    seconds,
    nanoseconds,
    linkType: source.linkType,
  });
  return '';
}

/** The 24 bytes a capture file begins with: little-endian, nanoseconds. */
export function pcapHeader(linkType: number = LINKTYPE_ETHERNET): Uint8Array {
  const bytes = new Uint8Array(PCAP_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC_NANO, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, MAX_CAPTURED_BYTES, true);
  view.setUint32(20, linkType, true);
  return bytes;
}

/**
 * One record: its header and a copy of the frame.
 * @param seconds,nanoseconds since 1970, and within the second
 * @param originalBytes length on the wire, when the frame was cut
 */
export function pcapRecord(
  frame: Uint8Array,
  seconds: number,
  nanoseconds: number,
  originalBytes: number = frame.length,
): Uint8Array {
  const bytes = new Uint8Array(PCAP_RECORD_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, seconds, true);
  view.setUint32(4, nanoseconds, true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, originalBytes, true);
  bytes.set(frame, PCAP_RECORD_BYTES);
  return bytes;
}

/** A whole capture file of Ethernet frames. */
export function writeCapture(frames: readonly Pick<CapturedFrame, 'bytes' | 'seconds' | 'nanoseconds'>[]): Uint8Array {
  const parts = [pcapHeader()];
  for (const frame of frames) parts.push(pcapRecord(frame.bytes, frame.seconds, frame.nanoseconds));
  let total = 0;
  for (const part of parts) total += part.length;
  const file = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
