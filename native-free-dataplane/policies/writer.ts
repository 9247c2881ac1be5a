/** Writes an image of the policy table. Only the agent does. */
import type { PairRow, PodRow, PolicyContents } from './contents.ts';
import { pairHash, podHash } from './lookup.ts';
import {
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

/** Words that the contents take. */
function imageWords({ pods, intervals, pairs }: PolicyContents): number {
  const ranges = pairs.reduce((sum, pair) => sum + pair.ranges.length, 0);
  return (
    IMAGE_HEAD_WORDS +
    slotsFor(pods.length) * POD_WORDS +
    intervals.length * INTERVAL_WORDS +
    slotsFor(pairs.length) * PAIR_WORDS +
    ranges
  );
}

/**
 * Write the contents into the image that is not in use, and put it in force.
 * @throws RangeError if they do not fit; the image in use stays
 */
export function writePolicies(table: PolicyTable, contents: PolicyContents): void {
  const needed = imageWords(contents);
  if (needed > table.halfWords) {
    throw new RangeError(`the node's policy table is too small: ${needed} words needed, it has ${table.halfWords}`);
  }
  const { pods, intervals, pairs, dns } = contents;
  const { words } = table;
  const image = spareImageAt(table);
  const podSlots = slotsFor(pods.length);
  const pairSlots = slotsFor(pairs.length);
  const intervalsAt = IMAGE_HEAD_WORDS + podSlots * POD_WORDS;
  const pairsAt = intervalsAt + intervals.length * INTERVAL_WORDS;
  const rangesAt = pairsAt + pairSlots * PAIR_WORDS;
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
  words[image + ImageWord.SIZE] = needed;
  for (const pod of pods) writePod(table, image + IMAGE_HEAD_WORDS, podSlots - 1, pod);
  for (const [i, { first, identity }] of intervals.entries()) {
    const at = image + intervalsAt + i * INTERVAL_WORDS;
    words.set(first, at + IntervalWord.FIRST);
    words[at + IntervalWord.IDENTITY] = identity;
  }
  let range = 0;
  for (const pair of pairs) {
    writePair(table, image + pairsAt, pairSlots - 1, pair, range / RANGE_WORDS);
    words.set(pair.ranges, image + rangesAt + range);
    range += pair.ranges.length;
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

function writePair(table: PolicyTable, slots: number, mask: number, pair: PairRow, range: number): void {
  const { words } = table;
  let i = pairHash(table, pair.group, pair.identity) & mask;
  while (words[slots + i * PAIR_WORDS + PairSlot.GROUP] !== 0) i = (i + 1) & mask;
  const at = slots + i * PAIR_WORDS;
  words[at + PairSlot.GROUP] = pair.group;
  words[at + PairSlot.IDENTITY] = pair.identity;
  words[at + PairSlot.RANGE] = range;
  words[at + PairSlot.COUNT] = pair.ranges.length / RANGE_WORDS;
}
