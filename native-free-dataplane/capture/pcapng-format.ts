/**
 * pcapng: codes of its blocks and options, field offsets, time units. Shared by the reader and the writer.
 *
 *   block:  type · total length · body (padded to 4) · total length again
 *   option: code u16 · length u16 · value (padded to 4)
 *
 * Read before editing: draft-ietf-opsawg-pcapng §3 and §4; libpcap sf-pcapng.c for what it rejects.
 */

export const Block = {
  INTERFACE: 1,
  /** Obsolete since 2004 but still written by some tools: an enhanced packet with a 16-bit interface number. */
  PACKET: 2,
  SIMPLE_PACKET: 3,
  NAMES: 4,
  STATISTICS: 5,
  ENHANCED_PACKET: 6,
  SECTION: 0x0a0d0d0a,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type and total length before the body, and the length again after it. */
export const BLOCK_HEAD_BYTES = 8;
export const BLOCK_TAIL_BYTES = 4;
/** The same limit as libpcap's (INITIAL_MAX_BLOCKSIZE). */
export const MAX_BLOCK_BYTES: number = 16 * 1024 * 1024;

/** Offsets in the bodies. */
export const SectionField = { BYTE_ORDER: 0, MAJOR: 4, MINOR: 6, LENGTH_LOW: 8, LENGTH_HIGH: 12, BYTES: 16 } as const;
export const InterfaceField = { LINK_TYPE: 0, SNAP: 4, BYTES: 8 } as const;
export const EnhancedField = { INTERFACE: 0, HIGH: 4, LOW: 8, CAPTURED: 12, ORIGINAL: 16, BYTES: 20 } as const;
/** The obsolete packet block: the interface number has 16 bits, the drop count the other 16. */
export const PacketField = { INTERFACE: 0, DROPS: 2 } as const;
export const NO_DROP_COUNT = 0xffff;
export const SimpleField = { ORIGINAL: 0, BYTES: 4 } as const;
export const StatisticsField = { INTERFACE: 0, HIGH: 4, LOW: 8, BYTES: 12 } as const;

export const OPTION_HEAD_BYTES = 4;
export const Option = { END: 0, COMMENT: 1 } as const;
export const SectionOption = { HARDWARE: 2, OS: 3, APPLICATION: 4 } as const;
export const InterfaceOption = {
  NAME: 2,
  DESCRIPTION: 3,
  TIME_RESOLUTION: 9,
  FILTER: 11,
  FCS_LENGTH: 13,
  TIME_OFFSET: 14,
} as const;
export const PacketOption = { FLAGS: 2, DROP_COUNT: 4, PACKET_ID: 5, QUEUE: 6, VERDICT: 7 } as const;
export const StatisticsOption = { RECEIVED: 4, DROPPED: 5 } as const;
export const NameRecord = { END: 0, IPV4: 1, IPV6: 2 } as const;

const WORD = 0x100000000;
const NANO = 1e9;

/** `bytes` rounded up to a multiple of four. */
export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}

/** A time since 1970. */
export interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Time from a 64-bit count of units since 1970; exact for every resolution down to the nanosecond. */
export function timeOfUnits(high: number, low: number, perSecond: number, offsetSeconds: number): Time {
  // Exact in doubles: the remainder is exact, and the quotient is whole.
  const upper = high * WORD;
  const rest = upper % perSecond;
  const units = rest + low;
  const fraction = units % perSecond;
  return {
    seconds: Math.round((upper - rest) / perSecond) + Math.floor(units / perSecond) + offsetSeconds,
    // Dividing by a whole number is exact where multiplying by its inverse is not.
    nanoseconds:
      perSecond >= NANO ? Math.floor(fraction / (perSecond / NANO)) : Math.floor(fraction * (NANO / perSecond)),
  };
}

/** Upper and lower word of `seconds` and `nanoseconds` in nanoseconds since 1970. */
export function nanosecondWords(seconds: number, nanoseconds: number): readonly [high: number, low: number] {
  // In two halves of 16 bits, so that no product exceeds the 53 bits of a double.
  const upper = Math.floor(seconds / 65536) * NANO;
  const lower = (seconds % 65536) * NANO + nanoseconds + (upper % 65536) * 65536;
  return [Math.floor(upper / 65536) + Math.floor(lower / WORD), lower % WORD];
}
