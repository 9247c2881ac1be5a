/**
 * Contents of a capture file: frames, and the interfaces they were captured on. Shared by the readers and the writers.
 * Link types: tcpdump.org/linktypes.
 */

export const LINKTYPE_ETHERNET = 1;

/** Longer frames are treated as damage (libpcap: MAXIMUM_SNAPLEN). */
export const MAX_CAPTURED_BYTES = 262144;

/** An interface that frames were captured on. */
export interface CaptureInterface {
  readonly linkType: number;
  /** Longest captured frame in bytes; 0 = no limit. */
  readonly snapBytes: number;
  /** Bytes of frame check sequence at the end of each frame; 0 if there is none or the file does not specify it. */
  readonly fcsBytes: number;
  /** if_name and if_description; '' if the file has none (classic pcap never does). */
  readonly name: string;
  readonly description: string;
}

/** Per-frame metadata of pcapng. All optional in the file. */
export interface FrameOptions {
  /** Direction, reception type and link-layer errors (epb_flags). */
  readonly flags?: number;
  /** Identifies one packet in all places it was captured (epb_packetid). Exact below 2^53. */
  readonly packetId?: number;
  /** Queue of the interface (epb_queue). */
  readonly queue?: number;
  /** Frames lost between this one and the one before it on this interface (epb_dropcount). */
  readonly dropCount?: number;
  /** epb_verdict: its type (0 hardware, 1 eBPF TC, 2 eBPF XDP, others defined by their owners) and its bytes. */
  readonly verdicts?: readonly { readonly type: number; readonly bytes: Uint8Array }[];
  readonly comments?: readonly string[];
}

/** A frame of a capture file. */
export interface CapturedFrame {
  /** Captured bytes: a view of the reader's input, not a copy. */
  readonly bytes: Uint8Array;
  /** Length on the wire; larger than bytes.length if the capture truncated it. */
  readonly originalBytes: number;
  /** Time since 1970: whole seconds, and nanoseconds within. Both 0 if the file has no time. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly source: CaptureInterface;
  readonly options: FrameOptions;
}

/** Shared by all frames without options. */
export const NO_OPTIONS: FrameOptions = {};

/** epb_flags, bits 0 and 1 (draft-ietf-opsawg-pcapng §4.3.1). */
export const Direction = { UNKNOWN: 0, INBOUND: 1, OUTBOUND: 2 } as const;
