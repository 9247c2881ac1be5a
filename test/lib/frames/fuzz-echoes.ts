/**
 * Replies to frames that a node sent: its own frames with the direction reversed, so that a fuzzer reaches established
 * connections and not only first packets.
 */
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import type { Random } from '../seeded-random.ts';
import type { TestNode } from '../test-node.ts';
import { repairChecksums } from './frame-residue.ts';
import type { Mutant } from './fuzz-mutations.ts';

const SLOTS = 64;
const MAX_BYTES = 2048;
const SYN = 2;
const ACK = 16;

interface Remembered {
  bytes: Uint8Array;
  length: number;
  port: number;
  /** Underlay address of the node it was sent to over the overlay, 0 = not over the overlay. */
  peer: number;
}

export class Echoes {
  private readonly slots: Remembered[] = [];
  private readonly node: TestNode;
  private readonly random: Random;

  constructor(node: TestNode, random: Random) {
    this.node = node;
    this.random = random;
  }

  /** Keep a sent frame, now and then. @param innerStart its innermost Ethernet header (over IPIP: where it would be) */
  remember(pkt: Packet, innerStart: number): void {
    const length = pkt.end - innerStart;
    if (pkt.gsoType !== 0 || pkt.needsChecksum !== 0 || length > MAX_BYTES) return;
    const at = this.random.below(SLOTS);
    this.slots[at] ??= { bytes: new Uint8Array(MAX_BYTES), length: 0, port: 0, peer: 0 };
    const slot = this.slots[at];
    slot.bytes.set(pkt.bytes.subarray(innerStart, pkt.end));
    slot.length = length;
    slot.port = pkt.outPort;
    slot.peer = innerStart === pkt.start ? 0 : pkt.view.getInt32(pkt.start + 14 + 16);
  }

  /** One time in three, a reply instead of the mutant. @returns the port it arrives at, -1 if there is none */
  next(mutant: Mutant): number {
    if (this.random.below(3) !== 0) return -1;
    const slot = this.slots[this.random.below(SLOTS)];
    if (slot === undefined) return -1;
    const { bytes, view } = mutant;
    const overhead = slot.peer === 0 ? 0 : this.node.identity.overlay === 'ipip' ? 20 : 50;
    const at = mutant.start + overhead;
    bytes.set(slot.bytes.subarray(0, slot.length), at);
    mutant.end = at + slot.length;
    const l3 = at + 14;
    swap(bytes, l3 + 12, l3 + 16, 4);
    bytes[l3 + 8] = 64;
    this.turnTransport(bytes, view, l3, mutant.end);
    repairChecksums(view, l3, mutant.end, true, false);
    this.address(mutant, at, slot, overhead);
    return slot.peer === 0 && slot.port < 32 - 1 ? slot.port : 0;
  }

  /** Ports, and the next sequence numbers of the other side. */
  private turnTransport(bytes: Uint8Array, view: DataView, l3: number, end: number): void {
    const l4 = l3 + ((view.getUint8(l3) & 15) << 2);
    const protocol = view.getUint8(l3 + 9);
    if ((view.getUint16(l3 + 6) & 0x1fff) !== 0 || end - l4 < 8) return;
    if (protocol === 1) {
      if (view.getUint8(l4) === 8) view.setUint8(l4, 0);
      return;
    }
    swap(bytes, l4, l4 + 2, 2);
    if (protocol !== 6 || end - l4 < 20) return;
    const flags = view.getUint8(l4 + 13);
    const sequence = view.getUint32(l4 + 4);
    view.setUint32(l4 + 4, (flags & ACK) !== 0 ? view.getUint32(l4 + 8) : this.random.word());
    view.setUint32(l4 + 8, (sequence + ((flags & SYN) !== 0 ? 1 : end - l4 - 20)) >>> 0);
    view.setUint8(l4 + 13, (flags & (SYN | ACK)) === SYN ? SYN | ACK : ACK | (this.random.below(8) === 0 ? 1 : 0));
  }

  /** Ethernet and overlay headers in the reverse direction. */
  private address({ bytes, view, start, end }: Mutant, inner: number, slot: Remembered, overhead: number): void {
    const gateway = Uint8Array.of(0x0a, 0x58, 0x0a, 0xf4, 1, 1);
    if (slot.port !== 0 && slot.peer === 0) {
      swap(bytes, inner, inner + 6, 6);
      return;
    }
    bytes.set(gateway, inner);
    bytes.set([2, 0, 0, 0, 0, 9], inner + 6);
    if (overhead === 0) return;
    // Outer headers last: over IPIP they occupy the place of the inner Ethernet header.
    bytes.set(gateway, start);
    bytes.set([2, 0, 0, 0, 0, 9, 8, 0], start + 6);
    const l3 = start + 14;
    view.setUint32(l3, 0x45000000 | (end - l3));
    view.setUint32(l3 + 4, 0x4000);
    view.setUint16(l3 + 8, 0x4000 | (overhead === 20 ? 4 : 17));
    view.setInt32(l3 + 12, slot.peer);
    bytes.set([172, 18, 0, 11], l3 + 16);
    repairChecksums(view, l3, end, false, false);
    if (overhead === 20) return;
    view.setUint32(l3 + 20, 0xc0010000 | 4789);
    view.setUint32(l3 + 24, (end - l3 - 20) << 16);
    view.setUint32(l3 + 28, 0x08000000);
    view.setUint32(l3 + 32, 1 << 8);
  }
}

function swap(bytes: Uint8Array, a: number, b: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const kept = bytes[a + i]!;
    bytes[a + i] = bytes[b + i]!;
    bytes[b + i] = kept;
  }
}
