/** Look-ups in an image of the policy table (table.ts). @param image its first word */
import { sameAddress } from '../shared/address.ts';
import { hashAddress, hashWord } from '../shared/hash.ts';
import {
  ANY_ADDRESS,
  ANY_POD,
  ImageWord,
  INTERVAL_WORDS,
  IntervalWord,
  PAIR_WORDS,
  PairSlot,
  POD_WORDS,
  PodSlot,
  type PolicyTable,
  RANGE_WORDS,
  UNDECIDED,
} from './table.ts';

/** Hash of a pod's address. */
export function podHash({ hash }: PolicyTable, address: Int32Array): number {
  return hashAddress(hash, 0, address[0], address[1], address[2], address[3]);
}

/** Hash of a group and an identity. */
export function pairHash({ hash }: PolicyTable, group: number, identity: number): number {
  return hashWord(hash, 4, group) ^ hashWord(hash, 5, identity);
}

/** First word of the pod's slot, or -1 for an address that is no pod's. */
export function findPod(table: PolicyTable, image: number, address: Int32Array): number {
  const { words } = table;
  const mask = words[image + ImageWord.POD_MASK];
  const slots = image + words[image + ImageWord.PODS];
  // Never full (image.ts), so a search ends at a free slot; the bound is for an image that is being overwritten.
  for (let i = podHash(table, address) & mask, steps = 0; steps <= mask; i = (i + 1) & mask, steps++) {
    const at = slots + i * POD_WORDS;
    if (words[at + PodSlot.IDENTITY] === 0) return -1;
    if (sameAddress(address, words, at + PodSlot.ADDRESS)) return at;
  }
  return -1;
}

/** Is the address at words[at] larger than `address`? */
function isAfter(words: Int32Array, at: number, address: Int32Array): boolean {
  for (let i = 0; i < 4; i++) {
    const a = words[at + i] >>> 0;
    const b = address[i] >>> 0;
    if (a !== b) return a > b;
  }
  return false;
}

/** Identity of an address that is no pod's. */
function identityOfAddress({ words }: PolicyTable, image: number, address: Int32Array): number {
  const intervals = image + words[image + ImageWord.INTERVALS];
  let low = 0;
  let high = words[image + ImageWord.INTERVAL_COUNT] - 1;
  // The last interval that does not begin after the address; the first begins at zero.
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (isAfter(words, intervals + middle * INTERVAL_WORDS + IntervalWord.FIRST, address)) high = middle - 1;
    else low = middle;
  }
  return words[intervals + low * INTERVAL_WORDS + IntervalWord.IDENTITY];
}

/**
 * What the group's policies decide about traffic with a peer.
 * @param others ANY_POD or ANY_ADDRESS: what the peer is, if the group has no decisions for its identity
 * @param key trafficKey
 * @returns a decision (table.ts); UNDECIDED if no policy applies
 */
export function decisionFor(
  table: PolicyTable,
  image: number,
  group: number,
  identity: number,
  others: number,
  key: number,
): number {
  let pair = findPair(table, image, group, identity);
  if (pair < 0) pair = findPair(table, image, group, others);
  return pair < 0 ? UNDECIDED : decisionAt(table, image, pair, key);
}

/**
 * As decisionFor, about traffic with an address.
 * @param pod slot of the pod with this address, or -1
 */
export function decisionAbout(
  table: PolicyTable,
  image: number,
  group: number,
  peer: Int32Array,
  pod: number,
  key: number,
): number {
  return pod >= 0
    ? decisionFor(table, image, group, table.words[pod + PodSlot.IDENTITY], ANY_POD, key)
    : decisionFor(table, image, group, identityOfAddress(table, image, peer), ANY_ADDRESS, key);
}

/** First word of the slot of (group, identity), or -1. */
export function findPair(table: PolicyTable, image: number, group: number, identity: number): number {
  const { words } = table;
  const mask = words[image + ImageWord.PAIR_MASK];
  const slots = image + words[image + ImageWord.PAIRS];
  for (let i = pairHash(table, group, identity) & mask, steps = 0; steps <= mask; i = (i + 1) & mask, steps++) {
    const at = slots + i * PAIR_WORDS;
    if (words[at + PairSlot.GROUP] === 0) return -1;
    if (words[at + PairSlot.GROUP] === group && words[at + PairSlot.IDENTITY] === identity) return at;
  }
  return -1;
}

/** The decision of the last range that does not begin after the key; the first begins at 0. */
function decisionAt({ words }: PolicyTable, image: number, pair: number, key: number): number {
  const ranges = image + words[image + ImageWord.RANGES] + words[pair + PairSlot.RANGE] * RANGE_WORDS;
  let low = 0;
  let high = words[pair + PairSlot.COUNT] - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (words[ranges + middle * RANGE_WORDS] > key) high = middle - 1;
    else low = middle;
  }
  return words[ranges + low * RANGE_WORDS + 1];
}
