/**
 * The rules that decisions refer to, by number: which policy each belongs to, and how often it has decided. Number 0 is
 * for what has no number: no rule decided, or there was no room for its name.
 *
 * The agent writes names; workers count. A number that is given to another rule starts from zero, and is not given away
 * while an image that may be in use refers to it (RuleNumbers).
 */
import type { DecidingRule } from './contents.ts';
import { type PolicyTable, RULE_WORDS, raiseRuleEnd, ruleEnd } from './table.ts';

const RuleWord = {
  /** Incremented before and after the rule's other words are written; 0: the number was never used. */
  VERSION: 0,
  /** Position in TIERS, twice, plus 1 for egress. */
  PLACE: 1,
  INDEX: 2,
  /** Units of UTF-16 in the policies' names, and in the rule's name after them. */
  POLICIES: 3,
  NAME: 4,
  /** 64-bit counter. */
  COUNT: 6,
  COUNT_HIGH: 7,
  TEXT: 8,
} as const;
/** Two units fit in a word. */
const TEXT_UNITS: number = (RULE_WORDS - RuleWord.TEXT) * 2;
const MAX_NAME_UNITS = 100;
const TIERS = ['admin', 'namespaced', 'baseline'] as const;

/** A rule with its counter, as read from the table. */
export interface NumberedRule extends Omit<DecidingRule, 'key'> {
  readonly number: number;
  /** Connections it has decided; for a rule that denies, packets. */
  readonly count: number;
}

const ruleAt = ({ rulesAt }: PolicyTable, number: number): number => rulesAt + number * RULE_WORDS;

/** Count a decision of the rule. */
export function countRule(table: PolicyTable, number: number): void {
  const { words } = table;
  const at = ruleAt(table, number);
  if (Atomics.add(words, at + RuleWord.COUNT, 1) === -1) Atomics.add(words, at + RuleWord.COUNT_HIGH, 1);
}

/** The rule with this number; undefined for 0, and for a number that is not in use. */
export function readRule(table: PolicyTable, number: number): NumberedRule | undefined {
  if (number <= 0 || number >= table.maxRules) return undefined;
  const { words } = table;
  const at = ruleAt(table, number);
  const version = Atomics.load(words, at + RuleWord.VERSION);
  if (version === 0 || (version & 1) !== 0) return undefined;
  const place = words[at + RuleWord.PLACE];
  const policies = readText(words, at, 0, words[at + RuleWord.POLICIES]);
  const rule: NumberedRule = {
    number,
    policies,
    name: readText(words, at, words[at + RuleWord.POLICIES], words[at + RuleWord.NAME]),
    index: words[at + RuleWord.INDEX],
    tier: TIERS[place >> 1] ?? 'namespaced',
    direction: (place & 1) === 0 ? 'ingress' : 'egress',
    count: (words[at + RuleWord.COUNT_HIGH] >>> 0) * 2 ** 32 + (words[at + RuleWord.COUNT] >>> 0),
  };
  return Atomics.load(words, at + RuleWord.VERSION) === version ? rule : undefined;
}

/** All rules whose numbers are in use. */
export function readRules(table: PolicyTable): NumberedRule[] {
  const rules: NumberedRule[] = [];
  // Beyond it the memory was never touched, and is not to be.
  for (let number = 1; number < ruleEnd(table); number++) {
    const rule = readRule(table, number);
    if (rule !== undefined) rules.push(rule);
  }
  return rules;
}

function readText(words: Int32Array, at: number, from: number, units: number): string {
  let text = '';
  for (let i = from; i < from + units && i < TEXT_UNITS; i++) {
    text += String.fromCharCode((words[at + RuleWord.TEXT + (i >> 1)] >>> ((i & 1) << 4)) & 0xffff);
  }
  return text;
}

function writeRule({ words }: PolicyTable, at: number, rule: DecidingRule): void {
  const version = words[at + RuleWord.VERSION];
  Atomics.store(words, at + RuleWord.VERSION, version + 1);
  const name = shortened(rule.name, MAX_NAME_UNITS);
  const policies = shortened(rule.policies, TEXT_UNITS - name.length);
  words[at + RuleWord.PLACE] = TIERS.indexOf(rule.tier) * 2 + (rule.direction === 'egress' ? 1 : 0);
  words[at + RuleWord.INDEX] = rule.index;
  words[at + RuleWord.POLICIES] = policies.length;
  words[at + RuleWord.NAME] = name.length;
  words.fill(0, at + RuleWord.TEXT, at + RULE_WORDS);
  const text = policies + name;
  for (let i = 0; i < text.length; i++) {
    words[at + RuleWord.TEXT + (i >> 1)] |= text.charCodeAt(i) << ((i & 1) << 4);
  }
  Atomics.store(words, at + RuleWord.VERSION, version + 2);
}

const shortened = (text: string, units: number): string =>
  text.length <= units ? text : `${text.slice(0, units - 1)}…`;

/** A rule that images refer to. */
interface Numbered {
  readonly key: string;
  /** 0 if there was no room for it. */
  number: number;
  index: number;
  /** How often the two images refer to it. */
  uses: number;
}

/** Gives rules their numbers. Only the agent does. */
export class RuleNumbers {
  private readonly table: PolicyTable;
  private readonly byKey = new Map<string, Numbered>();
  private readonly free: number[] = [];
  private next = 1;
  /** No image refers to them any more, but one that did may still be read. */
  private unused = new Set<Numbered>();

  constructor(table: PolicyTable) {
    this.table = table;
  }

  /** An image is about to be written: numbers that lost their last use before that are free again. */
  begin(): void {
    const { unused } = this;
    this.unused = new Set();
    for (const one of unused) if (one.uses === 0) this.forget(one);
  }

  /** Number of a rule that an image refers to from now on; 0 if there is no room. */
  use(rule: DecidingRule): number {
    let known = this.byKey.get(rule.key);
    if (known === undefined) {
      known = { key: rule.key, number: 0, index: rule.index, uses: 0 };
      this.byKey.set(rule.key, known);
    }
    if (known.number === 0) {
      known.number = this.freeNumber();
      known.index = rule.index;
      if (known.number !== 0) writeRule(this.table, ruleAt(this.table, known.number), rule);
    } else if (known.index !== rule.index) {
      known.index = rule.index;
      writeRule(this.table, ruleAt(this.table, known.number), rule);
    }
    known.uses++;
    return known.number;
  }

  /** An image refers to the rule once less. */
  release(rule: DecidingRule): void {
    const known = this.byKey.get(rule.key);
    if (known !== undefined && --known.uses === 0) this.unused.add(known);
  }

  private freeNumber(): number {
    const number = this.free.pop() ?? this.next;
    if (number >= this.table.maxRules) return 0;
    if (number === this.next) raiseRuleEnd(this.table, this.next++);
    return number;
  }

  private forget({ key, number }: Numbered): void {
    this.byKey.delete(key);
    if (number === 0) return;
    this.free.push(number);
    this.table.words.fill(0, ruleAt(this.table, number), ruleAt(this.table, number + 1));
  }
}
