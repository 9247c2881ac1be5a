/** Writes an image of the policy table. Only the agent does. */
import type { Decisions, PodRow, PolicyContents } from './contents.ts';
import { pairHash, podHash } from './lookup.ts';
import { RuleNumbers } from './rules.ts';
import {
  decision,
  type Effect,
  IMAGE_HEAD_WORDS,
  ImageWord,
  INTERVAL_WORDS,
  IntervalWord,
  PAIR_WORDS,
  PairSlot,
  POD_WORDS,
  PodSlot,
  type PolicyTable,
  publishImage,
  RANGE_WORDS,
  spareImageAt,
} from './table.ts';

/** A power of two that leaves a hash table at most half full. */
function slotsFor(entries: number): number {
  let slots = 2;
  while (slots < entries * 2) slots *= 2;
  return slots;
}

/** Places within an image. */
interface Layout {
  readonly podSlots: number;
  readonly pairSlots: number;
  readonly intervalsAt: number;
  readonly pairsAt: number;
  readonly rangesAt: number;
  /** Position of each list of ranges; equal lists are stored once. */
  readonly ranges: ReadonlyMap<Decisions, number>;
  readonly size: number;
}

function layoutOf({ pods, intervals, groups }: PolicyContents): Layout {
  const ranges = new Map<Decisions, number>();
  let count = 0;
  let pairs = 0;
  for (const { byIdentity } of groups) {
    pairs += byIdentity.size;
    for (const decisions of byIdentity.values()) {
      if (ranges.has(decisions)) continue;
      ranges.set(decisions, count);
      count += decisions.firsts.length;
    }
  }
  const podSlots = slotsFor(pods.length);
  const pairSlots = slotsFor(pairs);
  const intervalsAt = IMAGE_HEAD_WORDS + podSlots * POD_WORDS;
  const pairsAt = intervalsAt + intervals.length * INTERVAL_WORDS;
  const rangesAt = pairsAt + pairSlots * PAIR_WORDS;
  return { podSlots, pairSlots, intervalsAt, pairsAt, rangesAt, ranges, size: rangesAt + count * RANGE_WORDS };
}

/**
 * Write the contents into the image that is not in use, and put it in force.
 * @param numbers of the rules, the same for each call
 * @throws RangeError if they do not fit; the image in use stays
 */
export function writePolicies(
  table: PolicyTable,
  contents: PolicyContents,
  numbers: RuleNumbers = new RuleNumbers(table),
): void {
  const { podSlots, pairSlots, intervalsAt, pairsAt, rangesAt, ranges, size } = layoutOf(contents);
  if (size > table.halfWords) {
    throw new RangeError(`the node's policy table is too small: ${size} words needed, it has ${table.halfWords}`);
  }
  const { pods, intervals, groups, dns } = contents;
  const { words } = table;
  const image = spareImageAt(table);
  words.fill(0, image, image + rangesAt);
  words[image + ImageWord.POD_MASK] = podSlots - 1;
  words[image + ImageWord.PODS] = IMAGE_HEAD_WORDS;
  words[image + ImageWord.INTERVAL_COUNT] = intervals.length;
  words[image + ImageWord.INTERVALS] = intervalsAt;
  words[image + ImageWord.PAIR_MASK] = pairSlots - 1;
  words[image + ImageWord.PAIRS] = pairsAt;
  words[image + ImageWord.RANGES] = rangesAt;
  words[image + ImageWord.DNS_PORT] = dns?.port ?? 0;
  words[image + ImageWord.DNS_IDENTITY] = dns?.identity ?? 0;
  words[image + ImageWord.SIZE] = size;
  for (const pod of pods) writePod(table, image + IMAGE_HEAD_WORDS, podSlots - 1, pod);
  for (const [i, { first, identity }] of intervals.entries()) {
    const at = image + intervalsAt + i * INTERVAL_WORDS;
    words.set(first, at + IntervalWord.FIRST);
    words[at + IntervalWord.IDENTITY] = identity;
  }
  numbers.begin();
  for (const [decisions, at] of ranges) writeRanges(words, image + rangesAt + at * RANGE_WORDS, decisions, numbers);
  for (const { number, byIdentity } of groups) {
    for (const [identity, decisions] of byIdentity) {
      const at = image + pairsAt + freePair(table, image + pairsAt, pairSlots - 1, pairHash(table, number, identity));
      words[at + PairSlot.GROUP] = number;
      words[at + PairSlot.IDENTITY] = identity;
      words[at + PairSlot.RANGE] = ranges.get(decisions)!;
      words[at + PairSlot.COUNT] = decisions.firsts.length;
    }
  }
  publishImage(table);
}

function writePod(table: PolicyTable, slots: number, mask: number, pod: PodRow): void {
  const { words } = table;
  let i = podHash(table, pod.address) & mask;
  while (words[slots + i * POD_WORDS + PodSlot.IDENTITY] !== 0) i = (i + 1) & mask;
  const at = slots + i * POD_WORDS;
  words.set(pod.address, at + PodSlot.ADDRESS);
  words[at + PodSlot.IDENTITY] = pod.identity;
  words[at + PodSlot.INGRESS] = pod.ingress;
  words[at + PodSlot.EGRESS] = pod.egress;
}

/** Place of a free slot, relative to the first. */
function freePair({ words }: PolicyTable, slots: number, mask: number, hash: number): number {
  let i = hash & mask;
  while (words[slots + i * PAIR_WORDS + PairSlot.GROUP] !== 0) i = (i + 1) & mask;
  return i * PAIR_WORDS;
}

function writeRanges(words: Int32Array, at: number, { firsts, rules, effects }: Decisions, numbers: RuleNumbers): void {
  for (let i = 0; i < firsts.length; i++) {
    const rule = rules[i];
    words[at + i * RANGE_WORDS] = firsts[i]!;
    words[at + i * RANGE_WORDS + 1] = decision(rule === undefined ? 0 : numbers.of(rule), effects[i] as Effect);
  }
}
