/** Which policies apply to each class of pods, and the groups that follow from that. */
import { FIRST_GROUP } from '../../../native-free-dataplane/policies/table.ts';
import { matchesSelector } from '../../api/selectors.ts';
import type { ClassPolicies } from './class-of-pods.ts';
import { decidingRule, isolationBy } from './deciding-rules.ts';
import { Group } from './groups.ts';
import type { Identities } from './identities.ts';
import type { NameSelections } from './name-selections.ts';
import type { PeerSet, PeerSets } from './peer-sets.ts';
import { type PodClass, PodClasses, type PolicyPod } from './pod-classes.ts';
import { type Direction, inOrder, namesPorts, type PolicyRules } from './policy-rules.ts';

interface EnteredPolicy {
  readonly number: number;
  /** Names of the namespaces it applies to. */
  readonly namespaces: ReadonlySet<string>;
  readonly classes: ClassPolicies[];
  /** Of each rule; undefined: everybody. */
  readonly peers: Readonly<Record<Direction, readonly (PeerSet | undefined)[]>>;
  /** Does a rule of ingress name ports? */
  readonly namesPorts: boolean;
}

export interface ClassSources {
  readonly names: NameSelections;
  readonly peerSets: PeerSets;
  readonly identities: Identities;
}

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

export class PoliciesByClass {
  private readonly from: ClassSources;
  private readonly classes = new PodClasses();
  /** By the numbers of the classes. */
  private readonly all: ClassPolicies[] = [];
  private readonly entered = new Map<PolicyRules, EnteredPolicy>();
  private readonly groups = new Map<string, Group>();
  private readonly stale = new Set<ClassPolicies>();
  private policyNumbers = 0;
  private groupNumber = FIRST_GROUP;

  constructor(from: ClassSources) {
    this.from = from;
  }

  /** How many classes there are. */
  get size(): number {
    return this.all.length;
  }

  allGroups(): IterableIterator<Group> {
    return this.groups.values();
  }

  add(policy: PolicyRules): void {
    const { names, peerSets } = this.from;
    const { namespace = '', namespaces: selector } = policy;
    const namespaces = selector ? names.namespacesWith(selector, policy).values : new Set([namespace]);
    const peersOf = (direction: Direction) =>
      (policy[direction] ?? []).map(({ peers }) => (peers === undefined ? undefined : peerSets.of(policy, peers)));
    const entry: EnteredPolicy = {
      number: this.policyNumbers++,
      namespaces,
      classes: [],
      peers: { ingress: peersOf('ingress'), egress: peersOf('egress') },
      namesPorts: policy.ingress?.some(namesPorts) ?? false,
    };
    this.entered.set(policy, entry);
    for (const name of namespaces) {
      for (const { number } of this.classes.inNamespace(name)) this.applyTo(this.all[number]!, policy, entry);
    }
  }

  remove(policy: PolicyRules): void {
    const entry = this.entered.get(policy);
    if (entry === undefined) return;
    this.entered.delete(policy);
    this.from.names.forget(policy);
    for (const one of entry.classes) {
      one.policies.delete(policy);
      this.stale.add(one);
    }
  }

  /** The class of a pod that is about to be among its pods. */
  classOf(pod: PolicyPod): ClassPolicies {
    const podClass = this.classes.of(pod);
    let found = this.all[podClass.number];
    if (found === undefined) {
      found = { podClass, pods: new Set(), policies: new Set(), groups: { ingress: undefined, egress: undefined } };
      this.all.push(found);
      for (const [policy, entry] of this.entered) {
        if (entry.namespaces.has(podClass.namespace)) this.applyTo(found, policy, entry);
      }
    }
    if (found.pods.size === 0) this.stale.add(found);
    return found;
  }

  /** A pod of the class was removed. */
  left(one: ClassPolicies): void {
    if (one.pods.size === 0) this.stale.add(one);
  }

  /** Find the groups of the classes whose policies changed. @returns these classes */
  renew(): ClassPolicies[] {
    const changed = [...this.stale];
    this.stale.clear();
    const before = changed.flatMap(({ groups }) => [groups.ingress, groups.egress]);
    for (const one of changed) for (const direction of DIRECTIONS) one.groups[direction] = this.groupOf(one, direction);
    // Groups that nothing uses any more: only now, because most are used again.
    for (const group of before) if (group !== undefined && --group.users === 0) this.groups.delete(group.key);
    return changed;
  }

  private applyTo(one: ClassPolicies, policy: PolicyRules, entry: EnteredPolicy): void {
    if (!matchesSelector(policy.podSelector, one.podClass.labels)) return;
    one.policies.add(policy);
    entry.classes.push(one);
    this.stale.add(one);
  }

  private groupOf({ podClass, pods, policies: all }: ClassPolicies, direction: Direction): Group | undefined {
    const policies = [...all].filter((policy) => policy[direction] !== undefined).sort(inOrder);
    if (policies.length === 0 || pods.size === 0) return undefined;
    const entries = policies.map((policy) => this.entered.get(policy)!);
    const names = direction === 'ingress' && entries.some((entry) => entry.namesPorts);
    const key = `${direction} ${names ? podClass.portsKey : ''} ${entries.map(({ number }) => number).join()}`;
    let group = this.groups.get(key);
    if (group === undefined) {
      group = this.newGroup(key, policies, direction, names ? podClass : undefined);
      this.groups.set(key, group);
    }
    group.users++;
    return group;
  }

  /** @param named the class whose ports the rules name; undefined if they name none */
  private newGroup(
    key: string,
    policies: readonly PolicyRules[],
    direction: Direction,
    named: PodClass | undefined,
  ): Group {
    const rules = policies.flatMap((policy) => {
      const peers = this.entered.get(policy)!.peers[direction];
      return policy[direction]!.map((rule, i) => ({
        tier: policy.tier,
        action: rule.action,
        ports: rule.ports,
        rule: decidingRule(policy, direction, i),
        auditedPolicy: policy.audit ? policy.name : undefined,
        peers: peers[i],
        namesPorts: namesPorts(rule),
      }));
    });
    const isolationOf = (audited: boolean) => {
      const isolating = policies.filter(({ tier, audit }) => tier === 'namespaced' && audit === audited);
      return isolating.length === 0 ? undefined : isolationBy(isolating, direction);
    };
    const [isolation, auditedIsolation] = [isolationOf(false), isolationOf(true)];
    const number = this.groupNumber;
    this.groupNumber += 2;
    const ports = named?.ports ?? [];
    return new Group(key, number, { direction, rules, isolation, auditedIsolation, ports }, this.from.identities);
  }
}
