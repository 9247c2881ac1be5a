/** Mutations of a frame: bits, lengths, ends, two frames in one, and a wrong offload header. */
import { pick, type Random } from '../seeded-random.ts';
import { repairChecksums } from './frame-residue.ts';

/** Fields that determine the position of others: offsets from the IPv4 header. */
const LENGTH_FIELDS: readonly number[] = [0, 2, 6, 7, 9, 24, 25, 32, 33];
const EDGES: readonly number[] = [0, 1, 7, 8, 19, 20, 21, 27, 28, 41, 60, 0x45, 0x46, 0x4f, 0x7f, 0x80, 0xff];

/** A frame in a larger buffer, and its virtio-net header. */
export interface Mutant {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  start: number;
  end: number;
}

/**
 * Change the frame at random, keeping start; the end may move.
 * @param others frames to splice from
 * @param room the frame may not grow beyond
 */
export function mutate(mutant: Mutant, random: Random, others: readonly { bytes: Uint8Array }[], room: number): void {
  const { bytes, view, start } = mutant;
  // Mostly mutate the inner headers, if there are two.
  const l3 = start + 14 + (mutant.end - start > 100 && random.below(2) === 0 ? 50 : 0);
  for (let n = 1 + random.below(3); n > 0; n--) {
    const length = mutant.end - start;
    switch (random.below(9)) {
      case 0:
        bytes[start + random.below(Math.max(1, length))]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[start + random.below(Math.min(Math.max(1, length), 120))] = pick(random, EDGES);
        break;
      case 2:
        mutant.end = start + random.below(length + 1);
        break;
      case 3: {
        const grown = Math.min(room, mutant.end + random.below(64));
        for (let at = mutant.end; at < grown; at++) bytes[at] = random.word();
        mutant.end = grown;
        break;
      }
      case 4: {
        const other = pick(random, others).bytes;
        const at = random.below(Math.min(length + 1, 120));
        const from = random.below(Math.min(other.length, 120));
        const piece = other.subarray(from, Math.min(other.length, from + room - start - at));
        bytes.set(piece, start + at);
        mutant.end = start + at + piece.length;
        break;
      }
      case 5:
        bytes[l3 + pick(random, LENGTH_FIELDS)] = random.word();
        break;
      case 6:
        // Set the packet's length to the end of the frame, wherever it was cut.
        if (mutant.end > l3 + 4) view.setUint16(l3 + 2, mutant.end - l3);
        break;
      case 7:
        // Ports, flags, types.
        bytes[l3 + 20 + random.below(14)] = pick(random, EDGES);
        break;
      default:
        bytes[l3 + 12 + random.below(8)] = random.below(4);
        break;
    }
  }
}

/** Correct the IPv4 checksums, as most senders would: outer, and inner after VXLAN or IPIP. */
export function repair(mutant: Mutant, random: Random, pending: boolean): void {
  const { view, start, end } = mutant;
  if (end - start < 34 || view.getUint16(start + 12) !== 0x0800) return;
  const l3 = start + 14;
  const protocol = view.getUint8(l3 + 9);
  const transport = random.below(4) !== 0;
  const inner = protocol === 4 ? l3 + 20 : l3 + 50;
  const nested = (protocol === 4 || (protocol === 17 && view.getUint16(l3 + 22) === 4789)) && end - inner >= 20;
  if (nested) repairChecksums(view, inner, end, transport, pending);
  repairChecksums(view, l3, end, transport, pending && !nested);
}

/**
 * A virtio-net header for the frame: correct, nearly correct or nonsense.
 * @returns true if it marks the (inner) checksum as pending
 */
export function offloadHeader(mutant: Mutant, at: number, random: Random, gso: boolean, headerBytes: number): boolean {
  const { bytes, view, start, end } = mutant;
  bytes.fill(0, at, at + headerBytes);
  const choice = random.below(16);
  if (choice > (gso ? 9 : 4) || end - start < 34) return false;
  if (choice === 0) {
    for (let i = 0; i < headerBytes; i++) bytes[at + i] = random.below(3) === 0 ? random.word() : 0;
    return (bytes[at]! & 1) !== 0;
  }
  const nested = view.getUint8(start + 23) === 17 && view.getUint16(start + 36) === 4789 && end - start > 92;
  const l3 = nested ? 64 : 14;
  const protocol = view.getUint8(start + l3 + 9);
  const l4 = l3 + ((view.getUint8(start + l3) & 15) << 2);
  const tcp = protocol === 6;
  view.setUint8(at, 1);
  view.setUint16(at + 6, l4, true);
  view.setUint16(at + 8, tcp ? 16 : 6, true);
  if (choice > 2) {
    const kinds = tcp ? [1, 1, 1, 0x81, 4] : [5, 5, 3];
    view.setUint8(at + 1, pick(random, kinds) | (nested ? 0x20 : 0));
    view.setUint16(at + 2, l4 + (tcp ? 20 : 8), true);
    const sizes = [100, 536, 1000, 1398, 1400, 1448, 9000, 1, 0xffff];
    view.setUint16(at + 4, pick(random, sizes), true);
    if (nested && headerBytes >= 24) {
      view.setUint16(at + 20, 34, true);
      view.setUint16(at + 22, 64, true);
    }
  }
  // One of the words slightly wrong.
  if (random.below(6) === 0) {
    const word = at + 2 * random.below(headerBytes >> 1);
    view.setUint16(word, (view.getUint16(word, true) + random.below(9) - 4) & 0xffff, true);
  }
  return (bytes[at]! & 1) !== 0;
}
