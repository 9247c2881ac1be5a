/**
 * Groups: pods that the same policies select in a direction, with what these decide for each identity. A group is kept
 * while its policies stay the same, and extended when identities are added.
 */
import type { DecidingRule, Decisions, GroupRow, PairRow } from '../../../native-free-dataplane/policies/contents.ts';
import { ANY_ADDRESS, ANY_POD, exemptGroup } from '../../../native-free-dataplane/policies/table.ts';
import { decide, isUndecided, type PlannedRule } from './decisions.ts';
import type { Identities, Identity } from './identities.ts';
import { append } from './multimap.ts';
import type { PeerSet } from './peer-sets.ts';
import type { NamedPort } from './pod-classes.ts';
import type { Direction } from './policy-rules.ts';

export interface GroupRule extends PlannedRule {
  /** Undefined: everybody. */
  readonly peers: PeerSet | undefined;
  readonly namesPorts: boolean;
}

export interface GroupPolicies {
  readonly direction: Direction;
  /** In the order in which they are asked. */
  readonly rules: readonly GroupRule[];
  /** Undefined if no NetworkPolicy isolates the group. */
  readonly isolation: DecidingRule | undefined;
  /** As isolation, of audited NetworkPolicies. */
  readonly auditedIsolation: DecidingRule | undefined;
  /** Named ports of the group's own pods. */
  readonly ports: readonly NamedPort[];
}

/** Decisions of a group number, by identity. */
class DecisionTable implements GroupRow {
  readonly number: number;
  readonly pairs: PairRow[] = [];
  /** No policy decides anything: the table can be left out. */
  isEmpty = true;
  private readonly usual = new Map<number, Decisions>();
  private readonly exempt: boolean;
  private readonly known = new Map<string, Decisions>();

  constructor(number: number, exempt: boolean) {
    this.number = number;
    this.exempt = exempt;
  }

  /** For an identity that has none yet. */
  set(identity: number, decisions: Decisions): void {
    if (identity === ANY_POD || identity === ANY_ADDRESS) this.usual.set(identity, decisions);
    this.pairs.push({ identity, decisions });
    this.isEmpty &&= isUndecided(decisions);
  }

  /** What is decided for an identity of this kind that has no decisions of its own. */
  usualFor(identity: Identity): Decisions | undefined {
    return this.usual.get(kindOf(identity));
  }

  /** @param key equal for equal rules and ports */
  of(policies: GroupPolicies, key: string, rules: readonly GroupRule[], named: readonly NamedPort[]): Decisions {
    let found = this.known.get(key);
    if (found === undefined) {
      const { isolation, auditedIsolation } = policies;
      found = decide({ rules, isolation, auditedIsolation, named }, this.exempt);
      this.known.set(key, found);
    }
    return found;
  }
}

export class Group {
  /** Equal for the same policies in the same direction. */
  readonly key: string;
  readonly number: number;
  /** Classes of pods in this group. */
  users = 0;
  /** The group's own decisions, and those of its exempt group if policies of the cluster select it. */
  readonly tables: readonly DecisionTable[];
  private readonly policies: GroupPolicies;
  /** A port by name is the receiver's: of egress, the peer's. */
  private readonly asksPeerPorts: boolean;
  private upTo: number;

  constructor(key: string, number: number, policies: GroupPolicies, identities: Identities) {
    this.key = key;
    this.number = number;
    this.policies = policies;
    this.asksPeerPorts = policies.direction === 'egress' && policies.rules.some((rule) => rule.namesPorts);
    const ofCluster = policies.rules.some(({ tier }) => tier !== 'namespaced');
    this.tables = [
      new DecisionTable(number, false),
      ...(ofCluster ? [new DecisionTable(exemptGroup(number), true)] : []),
    ];
    this.upTo = identities.all.length;
    const matched = this.matchedRules(identities);
    for (const table of this.tables) this.fill(table, matched, identities);
  }

  /** Enter the identities that were added since the last call. */
  extend({ all }: Identities): void {
    for (; this.upTo < all.length; this.upTo++) {
      const identity = all[this.upTo]!;
      const { rules } = this.policies;
      const matched = rules.flatMap(({ peers }, i) => (peers?.members.has(identity.number) ? [i] : []));
      for (const table of this.tables) {
        const own = this.decisionsFor(table, matched, identity);
        if (own !== table.usualFor(identity)) table.set(identity.number, own);
      }
    }
  }

  /** For each identity that some rules have among their peers: the positions of these rules. */
  private matchedRules({ all }: Identities): Map<number, number[]> {
    const matched = new Map<number, number[]>();
    if (this.asksPeerPorts) for (const { number, podClass } of all) if (podClass) matched.set(number, []);
    for (const [i, { peers }] of this.policies.rules.entries()) {
      for (const number of peers?.members ?? []) append(matched, number, i);
    }
    return matched;
  }

  /** What most identities have in common is entered once, for all others. */
  private fill(table: DecisionTable, matched: ReadonlyMap<number, readonly number[]>, identities: Identities): void {
    const { all, pods } = identities;
    const base = this.decisionsFor(table, [], undefined);
    const own = new Map<number, Decisions>();
    const counts = {
      [ANY_POD]: new Map<Decisions, number>([[base, pods]]),
      [ANY_ADDRESS]: new Map<Decisions, number>([[base, all.length - pods]]),
    };
    for (const [number, rules] of matched) {
      const identity = identities.numbered(number);
      const decisions = this.decisionsFor(table, rules, identity);
      own.set(number, decisions);
      const count = counts[kindOf(identity)];
      count.set(base, count.get(base)! - 1);
      count.set(decisions, (count.get(decisions) ?? 0) + 1);
    }
    for (const kind of [ANY_POD, ANY_ADDRESS] as const) {
      const [usual] = [...counts[kind]].reduce((most, other) => (other[1] > most[1] ? other : most));
      table.set(kind, usual);
      const others = usual === base ? [...own.keys()].map((number) => identities.numbered(number)) : all;
      for (const identity of others) {
        const decisions = own.get(identity.number) ?? base;
        if (kindOf(identity) === kind && decisions !== usual) table.set(identity.number, decisions);
      }
    }
  }

  /** @param peers positions of the rules that have the identity among their peers; others match everybody */
  private decisionsFor(table: DecisionTable, peers: readonly number[], identity: Identity | undefined): Decisions {
    const { rules, ports } = this.policies;
    const matching = rules.filter(({ peers: whose }, i) => whose === undefined || peers.includes(i));
    const asksPeer = this.asksPeerPorts && matching.some((rule) => rule.namesPorts);
    const podClass = asksPeer ? identity?.podClass : undefined;
    const key = `${peers.join()}|${podClass?.portsKey ?? ''}`;
    const named = this.policies.direction === 'ingress' ? ports : (podClass?.ports ?? []);
    return table.of(this.policies, key, matching, named);
  }
}

const kindOf = ({ podClass }: Identity): typeof ANY_POD | typeof ANY_ADDRESS =>
  podClass === undefined ? ANY_ADDRESS : ANY_POD;
