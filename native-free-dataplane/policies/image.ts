/**
 * One of the two images of the policy table, as the agent keeps it: laid out and written once, then changed in place.
 * Only while it is not in use; workers that still read it check afterwards which image is (stages/network-policy.ts).
 */
import type { Decisions, GroupRow, PairRow, PodRow, PolicyContents } from './contents.ts';
import { findPair, findPod, pairHash, podHash } from './lookup.ts';
import type { RuleNumbers } from './rules.ts';
import { freeSlot, removeSlot, type SlotTable } from './slots.ts';
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
  RANGE_WORDS,
} from './table.ts';

/** Places within an image, and what fits there. */
interface Layout {
  readonly podSlots: number;
  readonly pairSlots: number;
  readonly maxIntervals: number;
  readonly maxRanges: number;
  readonly intervalsAt: number;
  readonly pairsAt: number;
  readonly rangesAt: number;
  readonly size: number;
}

/** Entries of each kind that an image is laid out for. */
interface Counts {
  readonly pods: number;
  readonly pairs: number;
  readonly intervals: number;
  readonly ranges: number;
}

/** A power of two that leaves a hash table at most half full. */
function slotsFor(entries: number): number {
  let slots = 2;
  while (slots < entries * 2) slots *= 2;
  return slots;
}

/** A table that is changed may be this full. */
const isCrowded = (entries: number, slots: number): boolean => entries * 4 > slots * 3;

function layoutOf({ pods, pairs, intervals, ranges }: Counts): Layout {
  const podSlots = slotsFor(pods);
  const pairSlots = slotsFor(pairs);
  const intervalsAt = IMAGE_HEAD_WORDS + podSlots * POD_WORDS;
  const pairsAt = intervalsAt + intervals * INTERVAL_WORDS;
  const rangesAt = pairsAt + pairSlots * PAIR_WORDS;
  const size = rangesAt + ranges * RANGE_WORDS;
  return { podSlots, pairSlots, maxIntervals: intervals, maxRanges: ranges, intervalsAt, pairsAt, rangesAt, size };
}

function countsOf({ pods, intervals, groups }: PolicyContents): Counts {
  let pairs = 0;
  let ranges = 0;
  for (const group of groups) {
    pairs += group.pairs.length;
    const lists = new Set<Decisions>();
    for (const { decisions } of group.pairs) lists.add(decisions);
    for (const { firsts } of lists) ranges += firsts.length;
  }
  return { pods: pods.length, pairs, intervals: intervals.length, ranges };
}

/** Room for changes, where there is: without it the next change would lay out the image again. */
const withSpare = ({ intervals, ranges, ...rest }: Counts): Counts => ({
  ...rest,
  intervals: intervals + (intervals >> 2) + 16,
  ranges: ranges + (ranges >> 1) + 64,
});

/** What an image has of a group. */
interface WrittenGroup {
  /** How many of its pairs. */
  pairs: number;
  /** Number of the first range of each list. */
  readonly ranges: Map<Decisions, number>;
  /** The last change for which the group was there. */
  turn: number;
}

export class Image {
  private readonly table: PolicyTable;
  private readonly numbers: RuleNumbers;
  /** First word. */
  private readonly at: number;
  private readonly layout: Layout;
  private readonly podTable: SlotTable;
  private readonly pairTable: SlotTable;
  private pods: readonly PodRow[] = [];
  private intervals: PolicyContents['intervals'] = [];
  private readonly groups = new Map<GroupRow, WrittenGroup>();
  private pairs = 0;
  private rangesEnd = 0;
  /** Places of lists that were removed, by their length. */
  private readonly freeRanges = new Map<number, number[]>();
  private turn = 0;

  /**
   * Lay out an image for the contents, empty.
   * @throws RangeError if they do not fit; nothing is written
   */
  constructor(table: PolicyTable, numbers: RuleNumbers, at: number, contents: PolicyContents) {
    const counts = countsOf(contents);
    let layout = layoutOf(withSpare(counts));
    if (layout.size > table.halfWords) layout = layoutOf(counts);
    if (layout.size > table.halfWords) {
      throw new RangeError(
        `the node's policy table is too small: ${layout.size} words needed, it has ${table.halfWords}`,
      );
    }
    this.table = table;
    this.numbers = numbers;
    this.at = at;
    this.layout = layout;
    const { words } = table;
    this.podTable = {
      words,
      slotsAt: at + IMAGE_HEAD_WORDS,
      mask: layout.podSlots - 1,
      slotWords: POD_WORDS,
      inUse: PodSlot.IDENTITY,
      hashAt: (slot) => podHash(table, words.subarray(slot + PodSlot.ADDRESS, slot + PodSlot.ADDRESS + 4)),
    };
    this.pairTable = {
      words,
      slotsAt: at + layout.pairsAt,
      mask: layout.pairSlots - 1,
      slotWords: PAIR_WORDS,
      inUse: PairSlot.GROUP,
      hashAt: (slot) => pairHash(table, words[slot + PairSlot.GROUP], words[slot + PairSlot.IDENTITY]),
    };
    words.fill(0, at, at + layout.rangesAt);
    words[at + ImageWord.POD_MASK] = layout.podSlots - 1;
    words[at + ImageWord.PODS] = IMAGE_HEAD_WORDS;
    words[at + ImageWord.INTERVALS] = layout.intervalsAt;
    words[at + ImageWord.PAIR_MASK] = layout.pairSlots - 1;
    words[at + ImageWord.PAIRS] = layout.pairsAt;
    words[at + ImageWord.RANGES] = layout.rangesAt;
    words[at + ImageWord.SIZE] = layout.size;
  }

  /**
   * Change what differs from the contents.
   * @returns false if they do not fit into the layout: the image is then incomplete, and must be released
   */
  update(contents: PolicyContents): boolean {
    const { pods, intervals, groups, dns } = contents;
    const { words } = this.table;
    if (isCrowded(pods.length, this.layout.podSlots) || intervals.length > this.layout.maxIntervals) return false;
    this.updatePods(pods);
    if (intervals !== this.intervals) this.writeIntervals(intervals);
    words[this.at + ImageWord.DNS_PORT] = dns?.port ?? 0;
    words[this.at + ImageWord.DNS_IDENTITY] = dns?.identity ?? 0;
    this.removeGroupsBut(groups);
    return groups.every((group) => this.extendGroup(group));
  }

  /** The image is given up: it refers to no rule any more. */
  release(): void {
    for (const { ranges } of this.groups.values()) for (const list of ranges.keys()) this.releaseRules(list);
    this.groups.clear();
  }

  private updatePods(pods: readonly PodRow[]): void {
    const before = this.pods;
    const changed: number[] = [];
    for (let i = 0; i < pods.length || i < before.length; i++) if (pods[i] !== before[i]) changed.push(i);
    for (const i of changed) {
      const row = before[i];
      if (row !== undefined) removeSlot(this.podTable, findPod(this.table, this.at, row.address));
    }
    for (const i of changed) {
      const row = pods[i];
      if (row !== undefined) this.writePod(row);
    }
    this.pods = changed.length === 0 ? before : pods.slice();
  }

  private writePod({ address, identity, ingress, egress }: PodRow): void {
    const { words } = this.table;
    const at = freeSlot(this.podTable, podHash(this.table, address));
    words.set(address, at + PodSlot.ADDRESS);
    words[at + PodSlot.IDENTITY] = identity;
    words[at + PodSlot.INGRESS] = ingress;
    words[at + PodSlot.EGRESS] = egress;
  }

  private writeIntervals(intervals: PolicyContents['intervals']): void {
    const { words } = this.table;
    for (const [i, { first, identity }] of intervals.entries()) {
      const at = this.at + this.layout.intervalsAt + i * INTERVAL_WORDS;
      words.set(first, at + IntervalWord.FIRST);
      words[at + IntervalWord.IDENTITY] = identity;
    }
    words[this.at + ImageWord.INTERVAL_COUNT] = intervals.length;
    this.intervals = intervals;
  }

  /** Remove the groups that are not among these. */
  private removeGroupsBut(groups: readonly GroupRow[]): void {
    this.turn++;
    for (const group of groups) {
      const written = this.groups.get(group);
      if (written !== undefined) written.turn = this.turn;
    }
    for (const [group, written] of this.groups) if (written.turn !== this.turn) this.removeGroup(group, written);
  }

  private removeGroup(group: GroupRow, { pairs, ranges }: WrittenGroup): void {
    for (let i = 0; i < pairs; i++) {
      removeSlot(this.pairTable, findPair(this.table, this.at, group.number, group.pairs[i]!.identity));
    }
    this.pairs -= pairs;
    for (const [list, place] of ranges) {
      this.releaseRules(list);
      const { length } = list.firsts;
      const free = this.freeRanges.get(length);
      if (free === undefined) this.freeRanges.set(length, [place]);
      else free.push(place);
    }
    this.groups.delete(group);
  }

  /** Write the pairs that the image does not have yet. @returns false if there is no room */
  private extendGroup(group: GroupRow): boolean {
    let written = this.groups.get(group);
    if (written === undefined) {
      written = { pairs: 0, ranges: new Map(), turn: this.turn };
      this.groups.set(group, written);
    }
    const { pairs } = group;
    if (written.pairs === pairs.length) return true;
    if (isCrowded(this.pairs + pairs.length - written.pairs, this.layout.pairSlots)) return false;
    for (; written.pairs < pairs.length; written.pairs++, this.pairs++) {
      if (!this.writePair(group.number, pairs[written.pairs]!, written.ranges)) return false;
    }
    return true;
  }

  private writePair(group: number, { identity, decisions }: PairRow, ranges: Map<Decisions, number>): boolean {
    let range = ranges.get(decisions);
    if (range === undefined) {
      range = this.placeFor(decisions.firsts.length);
      if (range < 0) return false;
      ranges.set(decisions, range);
      this.writeRanges(range, decisions);
    }
    const { words } = this.table;
    const at = freeSlot(this.pairTable, pairHash(this.table, group, identity));
    words[at + PairSlot.GROUP] = group;
    words[at + PairSlot.IDENTITY] = identity;
    words[at + PairSlot.RANGE] = range;
    words[at + PairSlot.COUNT] = decisions.firsts.length;
    return true;
  }

  /** Number of the first of so many ranges in a row, or -1. */
  private placeFor(length: number): number {
    const free = this.freeRanges.get(length)?.pop();
    if (free !== undefined) return free;
    if (this.rangesEnd + length > this.layout.maxRanges) return -1;
    const place = this.rangesEnd;
    this.rangesEnd += length;
    return place;
  }

  private writeRanges(place: number, { firsts, rules, effects }: Decisions): void {
    const { words } = this.table;
    for (let i = 0, at = this.at + this.layout.rangesAt + place * RANGE_WORDS; i < firsts.length; i++) {
      const rule = rules[i];
      words[at++] = firsts[i]!;
      words[at++] = decision(rule === undefined ? 0 : this.numbers.use(rule), effects[i] as Effect);
    }
  }

  private releaseRules({ rules }: Decisions): void {
    for (const rule of rules) if (rule !== undefined) this.numbers.release(rule);
  }
}
