/**
 * Blocks of a pcapng file, each as bytes to append: little-endian, times in nanoseconds. No I/O. Those of the packets are
 * in packet-blocks.ts.
 *
 *     section · interface, interface, … · packet, packet, … · statistics of each interface
 *
 * An interface's number is its position among those of the section. Read before editing: draft-ietf-opsawg-pcapng §4.
 */
import {
  BLOCK_HEAD_BYTES,
  BLOCK_TAIL_BYTES,
  Block,
  BYTE_ORDER_MAGIC,
  InterfaceField,
  InterfaceOption,
  NameRecord,
  nanosecondWords,
  OPTION_HEAD_BYTES,
  Option,
  padded,
  SectionField,
  SectionOption,
  StatisticsField,
  StatisticsOption,
} from './pcapng-format.ts';
import { encodeUtf8 } from './utf8.ts';

/** if_tsresol: 10^-9 seconds. */
const NANOSECONDS = 9;
/** An option's length has 16 bits; longer texts are truncated at a character boundary. */
const MAX_OPTION_BYTES = 0xffff;
const WORD = 0x100000000;

type OptionValue = readonly [code: number, value: Uint8Array];

/** One block: body and options, enclosed by its lengths. */
function block(type: number, body: Uint8Array, options: readonly OptionValue[]): Uint8Array {
  let optionBytes = options.length === 0 ? 0 : OPTION_HEAD_BYTES;
  for (const [, value] of options) optionBytes += OPTION_HEAD_BYTES + padded(value.length);
  const total = BLOCK_HEAD_BYTES + padded(body.length) + optionBytes + BLOCK_TAIL_BYTES;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(body, BLOCK_HEAD_BYTES);
  writeOptions(bytes, BLOCK_HEAD_BYTES + padded(body.length), options);
  // The end-of-options marker is all zeros, which are already there.
  view.setUint32(total - BLOCK_TAIL_BYTES, total, true);
  return bytes;
}

function writeOptions(bytes: Uint8Array, start: number, options: readonly OptionValue[]): void {
  const view = new DataView(bytes.buffer);
  let at = start;
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + OPTION_HEAD_BYTES);
    at += OPTION_HEAD_BYTES + padded(value.length);
  }
}

function textOption(code: number, text: string): OptionValue {
  const bytes = encodeUtf8(text);
  if (bytes.length <= MAX_OPTION_BYTES) return [code, bytes];
  let end = MAX_OPTION_BYTES;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return [code, bytes.subarray(0, end)];
}

function textOptions(code: number, text: string | undefined): readonly OptionValue[] {
  return text === undefined || text === '' ? [] : [textOption(code, text)];
}

/** @param value whole, below 2^53 */
function uint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, value % WORD, true);
  view.setUint32(4, Math.floor(value / WORD), true);
  return bytes;
}

/** The options of a section header block. */
export interface SectionDescription {
  readonly hardware?: string;
  readonly os?: string;
  /** Name and version of the program that writes the file. */
  readonly application?: string;
  readonly comments?: readonly string[];
}

/** The first block of a file. Its length is unspecified, so that the file may be written as it grows. */
export function pcapngSection(description: SectionDescription = {}): Uint8Array {
  const body = new Uint8Array(SectionField.BYTES);
  const view = new DataView(body.buffer);
  view.setUint32(SectionField.BYTE_ORDER, BYTE_ORDER_MAGIC, true);
  view.setUint16(SectionField.MAJOR, 1, true);
  view.setUint16(SectionField.MINOR, 0, true);
  view.setUint32(SectionField.LENGTH_LOW, 0xffffffff, true);
  view.setUint32(SectionField.LENGTH_HIGH, 0xffffffff, true);
  return block(Block.SECTION, body, [
    ...(description.comments ?? []).map((comment) => textOption(Option.COMMENT, comment)),
    ...textOptions(SectionOption.HARDWARE, description.hardware),
    ...textOptions(SectionOption.OS, description.os),
    ...textOptions(SectionOption.APPLICATION, description.application),
  ]);
}

/** An interface description block. */
export interface InterfaceDescription {
  readonly linkType: number;
  /** Longest frame that is captured, in bytes; 0 = no limit. */
  readonly snapBytes?: number;
  readonly name?: string;
  readonly description?: string;
  /** The capture filter, in the language of pcap-filter(7). */
  readonly filter?: string;
  readonly comments?: readonly string[];
}

/** Describes the section's next interface. */
export function pcapngInterface(description: InterfaceDescription): Uint8Array {
  const body = new Uint8Array(InterfaceField.BYTES);
  const view = new DataView(body.buffer);
  view.setUint16(InterfaceField.LINK_TYPE, description.linkType, true);
  view.setUint32(InterfaceField.SNAP, description.snapBytes ?? 0, true);
  const { filter } = description;
  return block(Block.INTERFACE, body, [
    ...(description.comments ?? []).map((comment) => textOption(Option.COMMENT, comment)),
    ...textOptions(InterfaceOption.NAME, description.name),
    ...textOptions(InterfaceOption.DESCRIPTION, description.description),
    [InterfaceOption.TIME_RESOLUTION, Uint8Array.of(NANOSECONDS)],
    // The first byte states the filter's format: 0 = text.
    ...(filter ? [textOption(InterfaceOption.FILTER, `\0${filter}`)] : []),
  ]);
}

/** Comments as the bytes of their options, for packet blocks. */
export function encodedComments(comments: readonly string[]): Uint8Array {
  const options = comments.map((comment) => textOption(Option.COMMENT, comment));
  const bytes = new Uint8Array(options.reduce((sum, [, { length }]) => sum + OPTION_HEAD_BYTES + padded(length), 0));
  writeOptions(bytes, 0, options);
  return bytes;
}

/** Names of addresses, which Wireshark displays instead of them (name resolution block). */
export function pcapngNames(names: readonly { readonly address: Uint8Array; readonly name: string }[]): Uint8Array {
  const records: number[] = [];
  for (const { address, name } of names) {
    const text = encodeUtf8(name);
    const bytes = address.length + text.length + 1;
    const kind = address.length === 4 ? NameRecord.IPV4 : NameRecord.IPV6;
    records.push(kind & 0xff, kind >> 8, bytes & 0xff, bytes >> 8, ...address, ...text, 0);
    while ((records.length & 3) !== 0) records.push(0);
  }
  records.push(NameRecord.END, 0, 0, 0);
  return block(Block.NAMES, Uint8Array.from(records), []);
}

/** An interface statistics block. */
export interface InterfaceStatistics {
  readonly source: number;
  /** When the counters were read. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Frames that passed, and how many of them the capture lost. */
  readonly received: number;
  readonly dropped: number;
}

/** Interface statistics block: frames seen and lost. */
export function pcapngStatistics(statistics: InterfaceStatistics): Uint8Array {
  const body = new Uint8Array(StatisticsField.BYTES);
  const view = new DataView(body.buffer);
  const [high, low] = nanosecondWords(statistics.seconds, statistics.nanoseconds);
  view.setUint32(StatisticsField.INTERFACE, statistics.source, true);
  view.setUint32(StatisticsField.HIGH, high, true);
  view.setUint32(StatisticsField.LOW, low, true);
  return block(Block.STATISTICS, body, [
    [StatisticsOption.RECEIVED, uint64(statistics.received)],
    [StatisticsOption.DROPPED, uint64(statistics.dropped)],
  ]);
}
