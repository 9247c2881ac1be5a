/** Random TCP conversations with the faults of real and hostile stacks; the same for the same seed. */
import { pick, type Random } from '../seeded-random.ts';
import type { Segment } from '../tcp-script.ts';

const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;

/** Two ends that mostly take turns, with sequence numbers close to the right ones. */
export class Conversation {
  private readonly random: Random;
  /** Next sequence number of each side. */
  private readonly next: [number, number];
  private readonly fin: [boolean, boolean] = [false, false];
  private step = 0;
  private last: Segment | undefined;
  /** How many steps of the handshake the script follows before it becomes random: 0 none. */
  private readonly tame: number;
  /** A reset with sequence number 0, or acknowledging 0, has a special meaning. */
  private readonly zeroes: boolean;

  constructor(random: Random, zeroes: boolean) {
    this.random = random;
    this.zeroes = zeroes;
    this.next = [random.word() | 0, random.word() | 0];
    this.tame = random.below(8) === 0 ? 0 : random.below(8);
  }

  segment(): Segment {
    const at = this.step++;
    const segment = at < this.tame ? this.expected(at) : this.wild();
    this.last = segment;
    return { ...segment, sacks: segment.sacks.map(([left, right]) => [left, right]) };
  }

  private make(direction: number, flags: number, payloadBytes: number): Segment {
    const side = direction as 0 | 1;
    const other = (1 - direction) as 0 | 1;
    const segment: Segment = {
      direction,
      flags,
      sequence: this.next[side],
      payloadBytes,
      acknowledged: this.next[other],
      window: this.pick([65535, 65535, 1000, 64240, 257, 1, 0]),
      scale: -1,
      sackPermitted: 0,
      sacks: [],
    };
    if ((flags & SYN) !== 0) {
      segment.scale = this.pick([-1, 0, 2, 7, 7, 14]);
      segment.sackPermitted = this.random.below(2);
    }
    return segment;
  }

  private advance(segment: Segment): Segment {
    const side = segment.direction as 0 | 1;
    const taken = segment.payloadBytes + ((segment.flags & SYN) !== 0 ? 1 : 0) + ((segment.flags & FIN) !== 0 ? 1 : 0);
    this.next[side] = (segment.sequence + taken) | 0;
    if ((segment.flags & FIN) !== 0) this.fin[side] = true;
    return segment;
  }

  /** Handshake, then data and its acknowledgement in turn. */
  private expected(at: number): Segment {
    if (at === 0) return this.advance(this.make(0, SYN, 0));
    if (at === 1) return this.advance(this.make(1, SYN | ACK, 0));
    if (at === 2) return this.advance(this.make(0, ACK, 0));
    const direction = this.random.below(2);
    return this.advance(this.make(direction, ACK | PSH, this.pick([1, 100, 1000])));
  }

  private wild(): Segment {
    const { random } = this;
    if (this.last && random.below(6) === 0) return this.last;
    const direction = random.below(2);
    const flags = this.pick([ACK, ACK, ACK, ACK | PSH, ACK | FIN, ACK | FIN, SYN, SYN, SYN | ACK, RST, RST | ACK]);
    const segment = this.make(direction, flags, (flags & (SYN | RST)) !== 0 ? 0 : this.pick([0, 0, 1, 100, 1460]));
    const far = [1, -1, 2, 10, -10, 1000, -1000, 65535, -65535, 66000, -66001, 70000, -200_000, 1_000_000, 2 ** 31];
    if (random.below(4) === 0) segment.sequence = (segment.sequence + this.pick(far)) | 0;
    if (random.below(4) === 0) segment.acknowledged = (segment.acknowledged + this.pick(far)) | 0;
    if ((flags & SYN) !== 0 && random.below(3) === 0) segment.sequence = random.word() | 0;
    // The tracker assumes this window of an unconfirmed SYN (tcp/tracker.ts).
    if (flags === SYN) segment.window = 65535;
    if ((flags & ACK) !== 0 && (flags & SYN) === 0 && random.below(8) === 0) {
      const left = (segment.acknowledged + this.pick([1, 1000, 5000])) | 0;
      segment.sacks.push([left, (left + this.pick([1, 1460, 100_000])) | 0]);
    }
    if (this.zeroes && (flags & RST) !== 0 && random.below(4) === 0) segment.sequence = 0;
    if (this.zeroes && (flags & RST) !== 0 && random.below(6) === 0) segment.acknowledged = 0;
    // Often enough both ends accept it and continue from there.
    return random.below(3) !== 0 ? this.advance(segment) : segment;
  }

  private pick<T>(values: readonly T[]): T {
    return pick(this.random, values);
  }
}
