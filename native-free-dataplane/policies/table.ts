/**
 * The policy table: which pods are isolated in which direction, and who may connect to them. It is read for the first
 * packet of a connection, and again for each connection after the policies have changed.
 *
 * Pods with the same labels are alike to every policy, so policies are matched by identity: classes of addresses that no
 * policy distinguishes. Pods that are selected by the same policies share a group in each direction. Three look-ups
 * answer a question, whatever the number of policies: address to identity and groups; (group, identity) to ranges of
 * protocol and port; and a binary search in these for the decision. The order of tiers and priorities is resolved when
 * the policies are compiled.
 *
 * The memory holds two images of the whole policy. The agent writes the one that is not in use and publishes it by one
 * store, so that a packet is judged by the policies from before a change or from after it, never by a mixture.
 *
 * Image: words of ImageWord, then
 *   pods       hash table of PodSlot: the cluster's pods, by address
 *   intervals  all other addresses, cut at the ends of every ipBlock: sorted first addresses, each with its identity
 *   pairs      hash table of PairSlot: (group, identity) to ranges; ANY_POD and ANY_ADDRESS stand for all identities
 *              that the group has no pair for
 *   ranges     sorted pairs of a first trafficKey and the decision from there on; the first of a list begins at 0
 *
 * A group has an even number. The group after it decides in its place where NetworkPolicies do not apply, but those of
 * the cluster do: from a pod to its own node, and to itself through a Service.
 *
 * After the images come the rules (rules.ts): their names and counters, by the numbers that decisions have; and the log
 * of connections that audited policies would deny (audit-log.ts).
 *
 * Addresses are four words, IPv4 mapped: the family is data.
 */
import { expandSecret, type HashTables } from '../shared/hash.ts';
import {
  H_OWN,
  HEADER_BYTES,
  HEADER_WORDS,
  headerMatches,
  headerSecret,
  TableKind,
  writeHeader,
} from '../shared/layout.ts';

export const POLICIES_LAYOUT = 3;
const H_HALF_WORDS = H_OWN;
/** Sequence number of the image in use, whose lowest bit is the half that holds it; 0: no policy at all. */
const H_ACTIVE = H_OWN + 1;
/** Sequence number of the last image that was published. */
const H_SEQUENCE = H_OWN + 2;
const H_RULES = H_OWN + 3;
/** One more than the largest number that a rule has had. */
const H_RULE_END = H_OWN + 4;

/** Words at the start of an image. Places are relative to it. */
export const ImageWord = {
  POD_MASK: 0,
  PODS: 1,
  INTERVAL_COUNT: 2,
  INTERVALS: 3,
  PAIR_MASK: 4,
  PAIRS: 5,
  RANGES: 6,
  /** Port of the node's own name server, which stands for the pods of kube-dns; 0: there is none. */
  DNS_PORT: 7,
  DNS_IDENTITY: 8,
  /** Words that the image takes, these included. */
  SIZE: 9,
} as const;
export const IMAGE_HEAD_WORDS = 16;

export const PodSlot = {
  ADDRESS: 0,
  /** 0 in a free slot. */
  IDENTITY: 4,
  /** Groups; 0: no policy applies in this direction. */
  INGRESS: 5,
  EGRESS: 6,
} as const;
export const POD_WORDS = 8;

export const IntervalWord = { FIRST: 0, IDENTITY: 4 } as const;
export const INTERVAL_WORDS = 5;

export const PairSlot = {
  /** 0 in a free slot. */
  GROUP: 0,
  IDENTITY: 1,
  /** Number of its first range, and how many there are. */
  RANGE: 2,
  COUNT: 3,
} as const;
export const PAIR_WORDS = 4;

export const RANGE_WORDS = 2;

/** Identities in a pair that stand for all others: of pods, and of addresses that are no pod's. */
export const ANY_POD = 1;
export const ANY_ADDRESS = 2;
export const FIRST_IDENTITY = 3;

/** Groups are numbered by twos from here. */
export const FIRST_GROUP = 2;
/** The group that decides in place of `group` where NetworkPolicies do not apply. */
export const exemptGroup = (group: number): number => group + 1;

/** What a decision does. */
export const Effect = {
  ALLOW: 0,
  DENY: 1,
  /** Allowed, because the policy that would deny is only audited. */
  AUDIT: 2,
} as const;
export type Effect = (typeof Effect)[keyof typeof Effect];

/** A decision: the number of the rule that decides (rules.ts; 0: none does), and its effect. */
export const decision = (rule: number, effect: Effect): number => (rule << 2) | effect;
export const ruleOf = (decided: number): number => decided >>> 2;
export const effectOf = (decided: number): number => decided & 3;
/** No policy decides, so the traffic is allowed. */
export const UNDECIDED = 0;
/** Denied, though by no rule: the pod's policies are not known yet. */
export const UNKNOWN_POD: number = Effect.DENY;

/** Protocol and port in one number; ICMP and other protocols without ports have port 0. */
export const trafficKey = (protocol: number, port: number): number => (protocol << 16) | port;
export const LAST_TRAFFIC_KEY = 0xffffff;

export interface PolicyTable {
  readonly words: Int32Array;
  readonly hash: HashTables;
  readonly halfWords: number;
  /** Rules there is room for, and the first word of the first. */
  readonly maxRules: number;
  readonly rulesAt: number;
  /** First word of the log of audited connections (audit-log.ts). */
  readonly auditAt: number;
}

export interface PolicyOptions {
  /** Words of one image. Default 2 Mi (8 MB; only touched words cost memory). */
  readonly halfWords?: number;
  /** Rules that have a name and a counter. Default 32,768 (16 MB; only touched pages cost memory). */
  readonly maxRules?: number;
}

const DEFAULT_HALF_WORDS: number = 2 * 1024 * 1024;
const DEFAULT_RULES = 32768;
/** Words of a rule (rules.ts). */
export const RULE_WORDS = 128;
/** Records of audit-log.ts, and the words of one. */
export const AUDIT_SLOTS = 1024;
export const AUDIT_WORDS = 16;
const AUDIT_LOG_WORDS: number = 1 + AUDIT_SLOTS * AUDIT_WORDS;

export function policyBytes({ halfWords = DEFAULT_HALF_WORDS, maxRules = DEFAULT_RULES }: PolicyOptions = {}): number {
  return HEADER_BYTES + (2 * halfWords + maxRules * RULE_WORDS + AUDIT_LOG_WORDS) * 4;
}

function open(words: Int32Array): PolicyTable {
  const halfWords = words[H_HALF_WORDS];
  const rulesAt = HEADER_WORDS + 2 * halfWords;
  const maxRules = words[H_RULES];
  const auditAt = rulesAt + maxRules * RULE_WORDS;
  return { words, hash: expandSecret(headerSecret(words)), halfWords, maxRules, rulesAt, auditAt };
}

/** Lay out the table in zeroed memory: no policy. */
export function createPolicies(buffer: ArrayBuffer, options: PolicyOptions & { secret: Int32Array }): PolicyTable {
  const words = new Int32Array(buffer);
  words[H_HALF_WORDS] = options.halfWords ?? DEFAULT_HALF_WORDS;
  words[H_RULES] = options.maxRules ?? DEFAULT_RULES;
  writeHeader(words, TableKind.POLICIES, POLICIES_LAYOUT, options.secret);
  return open(words);
}

/** Map a table that another thread or process created. Undefined if the memory does not hold one of this layout. */
export function attachPolicies(buffer: ArrayBuffer): PolicyTable | undefined {
  const words = new Int32Array(buffer);
  if (!headerMatches(words, TableKind.POLICIES, POLICIES_LAYOUT)) return undefined;
  const options = { halfWords: words[H_HALF_WORDS], maxRules: words[H_RULES] };
  return buffer.byteLength >= policyBytes(options) ? open(words) : undefined;
}

/** Rules have had numbers below this. */
export function ruleEnd({ words }: PolicyTable): number {
  return words[H_RULE_END];
}

/** A rule gets this number for the first time. */
export function raiseRuleEnd({ words }: PolicyTable, number: number): void {
  words[H_RULE_END] = number + 1;
}

/** Sequence number of the image in use; 0 if there is no policy. */
export function activeImage({ words }: PolicyTable): number {
  return words[H_ACTIVE];
}

/** First word of the image with this sequence number. */
export function imageAt({ halfWords }: PolicyTable, sequence: number): number {
  return HEADER_WORDS + (sequence & 1) * halfWords;
}

/** Bytes that the image in use takes; 0 if there is no policy. */
export function activeImageBytes(table: PolicyTable): number {
  const sequence = activeImage(table);
  return sequence === 0 ? 0 : table.words[imageAt(table, sequence) + ImageWord.SIZE] * 4;
}

/** First word of the image that is not in use, for the writer. */
export function spareImageAt(table: PolicyTable): number {
  return imageAt(table, table.words[H_SEQUENCE] + 1);
}

/** Put the spare image in force. */
export function publishImage({ words }: PolicyTable): void {
  // Never 0, which stands for "no policy".
  const next = (words[H_SEQUENCE] + 1) | 0 || 2;
  words[H_SEQUENCE] = next;
  Atomics.store(words, H_ACTIVE, next);
}

/** There are no policies any more. */
export function withdrawImage({ words }: PolicyTable): void {
  Atomics.store(words, H_ACTIVE, 0);
}
