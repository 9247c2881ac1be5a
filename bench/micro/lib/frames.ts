/**
 * Frames for timing the pipeline: many headers that are written to one place in the arena, where a worker reads frames.
 *
 * Only the words that differ between frames, or that the pipeline changes, are written (found by processing each frame
 * once); payloads are never touched. The cost of writing them is measured in a row of its own.
 */
import { FRAME_AT } from '../../../native-free-dataplane/dataplane.ts';
import { GSO_TCPV4, GSO_TCPV6, type Packet } from '../../../native-free-dataplane/packet.ts';

/** A received frame, as its device would describe it. */
export interface Template {
  /** The headers, or more of the frame; the rest, up to `length`, is whatever the arena contains. */
  readonly bytes: Uint8Array;
  /** Length of the whole frame; by default that of `bytes`. */
  readonly length?: number;
  readonly port: number;
  /** The transport checksum is pending. */
  readonly partial?: boolean;
  /** A TCP super-packet of segments of this size. */
  readonly gsoSize?: number;
  /** TCP: how far sequence and acknowledgment numbers advance each time all frames have been processed. */
  readonly sequenceStep?: number;
  readonly acknowledgedStep?: number;
}

/** First word of the arena that a frame may occupy, and how many words of headers are kept. */
const FIRST_WORD = FRAME_AT >> 2;
const HEADER_WORDS = 40;

/** Bytes that VXLAN adds in front. */
const INNER = 50;

/** Offset of the innermost network header. The overlay is recognised by its UDP port over IPv4. */
function innerL3(bytes: Uint8Array): number {
  const isVxlan = bytes[14] === 0x45 && bytes[23] === 17 && bytes[36] === 0x12 && bytes[37] === 0xb5;
  return isVxlan ? 14 + INNER : 14;
}

/** Length of the network header at `l3`, without options. */
function headerBytes(bytes: Uint8Array, l3: number): number {
  return (bytes[l3] as number) >> 4 === 6 ? 40 : 20;
}

export class Frames {
  readonly count: number;
  private readonly pkt: Packet;
  private readonly words: Int32Array;
  private readonly templates: readonly Template[];
  /** Words of the arena to write, and their values, frame by frame. */
  private readonly places: Int32Array;
  private readonly values: Int32Array;
  private readonly ends: Int32Array;
  private readonly ports: Int32Array;
  private readonly partial: Uint8Array;
  private readonly gsoSizes: Int32Array;
  private readonly l3: Int32Array;
  private readonly l4: Int32Array;
  private readonly steps: Int32Array;
  private readonly sequences: boolean;
  private next = 0;
  private lap = 0;

  /** @param process processes the packet; called once for every frame, to find out which words it changes */
  constructor(pkt: Packet, templates: readonly Template[], process: () => void) {
    this.pkt = pkt;
    this.templates = templates;
    this.count = templates.length;
    this.words = new Int32Array(pkt.bytes.buffer, 0, pkt.bytes.byteLength >> 2);
    this.ends = Int32Array.from(templates, ({ bytes, length }) => FRAME_AT + (length ?? bytes.length));
    this.ports = Int32Array.from(templates, ({ port }) => port);
    this.partial = Uint8Array.from(templates, ({ partial, gsoSize }) => (partial || gsoSize ? 1 : 0));
    this.gsoSizes = Int32Array.from(templates, ({ gsoSize }) => gsoSize ?? 0);
    this.l3 = Int32Array.from(templates, ({ bytes }) => FRAME_AT + innerL3(bytes));
    this.l4 = Int32Array.from(templates, ({ bytes }, n) => (this.l3[n] as number) + headerBytes(bytes, innerL3(bytes)));
    this.steps = Int32Array.from(templates.flatMap((one) => [one.sequenceStep ?? 0, one.acknowledgedStep ?? 0]));
    this.sequences = this.steps.some((step) => step !== 0);
    const { places, values } = this.survey(process);
    this.places = places;
    this.values = values;
  }

  /** The words that must be written to replace any frame by any other. */
  private survey(process: () => void): { places: Int32Array; values: Int32Array } {
    const { words, count } = this;
    const all = new Int32Array(count * HEADER_WORDS);
    const varies = new Uint8Array(HEADER_WORDS);
    for (let n = 0; n < count; n++) {
      this.write(n);
      const own = all.subarray(n * HEADER_WORDS, (n + 1) * HEADER_WORDS);
      own.set(words.subarray(FIRST_WORD, FIRST_WORD + HEADER_WORDS));
      this.describe(n);
      process();
      for (let i = 0; i < HEADER_WORDS; i++) {
        if (words[FIRST_WORD + i] !== own[i] || own[i] !== all[i]) varies[i] = 1;
      }
    }
    const places = Int32Array.from([...varies.keys()].filter((i) => varies[i] === 1));
    const values = new Int32Array(count * places.length);
    for (let n = 0; n < count; n++) {
      places.forEach((place, i) => {
        values[n * places.length + i] = all[n * HEADER_WORDS + place]!;
      });
    }
    this.write(0);
    return { places: places.map((place) => place + FIRST_WORD), values };
  }

  /** All of a frame's headers. */
  private write(n: number): void {
    const { bytes } = this.pkt;
    bytes.fill(0, FIRST_WORD * 4, (FIRST_WORD + HEADER_WORDS) * 4);
    bytes.set(this.templates[n]!.bytes.subarray(0, (HEADER_WORDS - 1) * 4), FRAME_AT);
  }

  /** The descriptor, as after a read. */
  private describe(n: number): void {
    const { pkt } = this;
    pkt.reset(FRAME_AT, this.ends[n] as number, this.ports[n] as number);
    if (this.partial[n] === 0) return;
    const l4 = this.l4[n] as number;
    pkt.needsChecksum = 1;
    pkt.checksumStart = l4;
    pkt.checksumOffset = 16;
    const gsoSize = this.gsoSizes[n] as number;
    if (gsoSize === 0) return;
    pkt.gsoType = l4 - (this.l3[n] as number) === 40 ? GSO_TCPV6 : GSO_TCPV4;
    pkt.gsoSize = gsoSize;
    pkt.headersEnd = l4 + 32;
    const l3 = this.l3[n] as number;
    if (l3 > FRAME_AT + INNER) {
      pkt.outerL4 = FRAME_AT + 34;
      pkt.innerL3 = l3;
    }
  }

  /** Write the next frame and reset the descriptor to it. */
  load(): void {
    const { words, places, values, pkt } = this;
    const n = this.next;
    const from = n * places.length;
    for (let i = 0; i < places.length; i++) words[places[i] as number] = values[from + i] as number;
    this.describe(n);
    if (this.sequences) {
      const l4 = this.l4[n] as number;
      const sequence = (1 + Math.imul(this.steps[2 * n] as number, this.lap)) | 0;
      const acknowledged = this.steps[2 * n + 1] as number;
      pkt.view.setInt32(l4 + 4, sequence);
      pkt.view.setInt32(l4 + 8, (1 + Math.imul(acknowledged, this.lap + 1)) | 0);
    }
    if (n + 1 === this.count) {
      this.next = 0;
      this.lap++;
    } else this.next = n + 1;
  }
}

/** The packet with source and destination swapped on every layer. No checksum changes by that. */
export function turnedRound(frame: Uint8Array): Uint8Array {
  const bytes = frame.slice();
  const exchange = (one: number, other: number, length: number): void => {
    const kept = bytes.slice(one, one + length);
    bytes.copyWithin(one, other, other + length);
    bytes.set(kept, other);
  };
  const inner = innerL3(frame);
  for (let l3 = 14; l3 <= inner; l3 += INNER) {
    exchange(l3 - 14, l3 - 8, 6);
    if (headerBytes(frame, l3) === 40) exchange(l3 + 8, l3 + 24, 16);
    else exchange(l3 + 12, l3 + 16, 4);
  }
  const ports = inner + headerBytes(frame, inner);
  exchange(ports, ports + 2, 2);
  return bytes;
}
