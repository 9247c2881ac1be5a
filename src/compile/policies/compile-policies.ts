/**
 * Policies, namespaces, nodes and pods → the contents of the policy table (native-free-dataplane/policies/table.ts). The
 * result depends on the input alone. What it is made of is kept from call to call, so that a change costs what it
 * affects; it is made anew when names of namespaces or nodes change, and when half of it is not in use any more.
 */
import type { PodRow, PolicyContents } from '../../../native-free-dataplane/policies/contents.ts';
import { FIRST_GROUP } from '../../../native-free-dataplane/policies/table.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { type Labels, matchesSelector } from '../../api/selectors.ts';
import type { LabelSelector } from '../../api/types/objects.ts';
import { ipWords, parseIp, rangeOf } from '../../net/address.ts';
import { AddressBlocks, type Block, mappedValue } from './address-blocks.ts';
import { decidingRule, isolationBy } from './deciding-rules.ts';
import { Group } from './groups.ts';
import { Identities, type Identity } from './identities.ts';
import { append } from './multimap.ts';
import { PeerSets } from './peer-sets.ts';
import { type PodClass, PodClasses, type PolicyPod } from './pod-classes.ts';
import { type Direction, inOrder, namesPorts, type PolicyRules } from './policy-rules.ts';

export interface AddressedPod extends PolicyPod {
  readonly ip: string;
}

export interface PolicyNode {
  readonly labels: Labels;
  readonly addresses: readonly string[];
}

export interface PolicyInput {
  readonly policies: readonly PolicyRules[];
  /** Labels of namespaces, by name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
  /** Objects of the same pod, unchanged, should be the same. */
  readonly pods: readonly AddressedPod[];
  readonly nodes: readonly PolicyNode[];
  /** Port of the node's own name server; undefined where pods of the cluster answer. */
  readonly dnsPort: number | undefined;
}

/** What the node's name server stands for: the pods that a cluster has for names. */
const NAME_SERVER: PolicyPod = {
  namespace: 'kube-system',
  labels: { 'k8s-app': 'kube-dns' },
  ports: [
    { name: 'dns', protocol: PROTOCOL_UDP, port: 53 },
    { name: 'dns-tcp', protocol: PROTOCOL_TCP, port: 53 },
  ],
};

export const compilePolicies = (input: PolicyInput): PolicyContents => new PolicyCompiler().compile(input);

export class PolicyCompiler {
  private kept: Kept | undefined;
  private names = '';

  compile(input: PolicyInput): PolicyContents {
    const names = JSON.stringify([[...input.namespaces], input.nodes]);
    if (this.kept === undefined || this.names !== names || this.kept.isWorn) this.kept = new Kept(input);
    this.names = names;
    return this.kept.compile(input);
  }
}

interface KeptPod {
  readonly address: Int32Array;
  readonly value: bigint;
  readonly podClass: PodClass;
  /** Undefined when a block that contains the address was added. */
  identity: Identity | undefined;
}

interface KeptPolicy {
  readonly number: number;
  /** The classes of the pods that it applies to, as far as they are known. */
  readonly classes: PodClass[];
  /** How many of all classes were considered. */
  upTo: number;
  /** Does a rule of ingress name ports? */
  readonly namesPorts: boolean;
}

/** Policies and pods may be replaced so many times before everything is made anew. */
const SPARE = 1000;

class Kept {
  private readonly classes = new PodClasses();
  private readonly identities = new Identities();
  private readonly blocks = new AddressBlocks();
  private readonly peerSets: PeerSets;
  private readonly nameServer: PodClass;
  private readonly pods = new Map<AddressedPod, KeptPod>();
  private readonly policies = new Map<PolicyRules, KeptPolicy>();
  private readonly groups = new Map<string, Group>();
  private inUse = { pods: 0, policies: 0, groups: 0 };

  constructor({ namespaces, nodes }: PolicyInput) {
    const blockNumber = (block: Block) => this.blockNumber(block);
    const nodeBlocks = (selector: LabelSelector) =>
      nodes
        .filter(({ labels }) => matchesSelector(selector, labels))
        .flatMap(({ addresses }) => addresses.flatMap((text) => parseIp(text) ?? []))
        .map((ip) =>
          blockNumber({ kind: 'block', block: { ...rangeOf(ip), prefix: ip.family === 4 ? 32 : 128 }, except: [] }),
        );
    this.peerSets = new PeerSets({ namespaces, identities: this.identities, blockNumber, nodeBlocks });
    this.nameServer = this.classes.of(NAME_SERVER);
  }

  /** Is more kept than twice what is in use? */
  get isWorn(): boolean {
    const { pods, policies, groups } = this.inUse;
    const worn = (kept: number, used: number) => kept > 2 * used + SPARE;
    return worn(this.pods.size, pods) || worn(this.policies.size, policies) || worn(this.groups.size, groups);
  }

  compile({ policies: given, pods, dnsPort }: PolicyInput): PolicyContents {
    const policies = [...given].sort(inOrder);
    // First the blocks: which identities there are depends on them.
    for (const policy of policies) this.keptPolicy(policy);
    const kept = pods.map((pod) => this.keptPod(pod));
    const identities = kept.map((pod) => this.identityOf(pod));
    const intervals = this.blocks.intervals.map((interval) => {
      interval.identity ??= this.identities.of(undefined, interval.blocks);
      return { first: interval.first, identity: interval.identity.number };
    });
    const dns = dnsPort ? { port: dnsPort, identity: this.identities.of(this.nameServer, []).number } : undefined;
    this.peerSets.extend();

    const groupOf = this.groupsOf(policies);
    const used = new Set<Group>();
    const numberOf = (podClass: PodClass, direction: Direction): number => {
      const group = groupOf(podClass, direction);
      if (group !== undefined) used.add(group);
      return group?.number ?? 0;
    };
    const rows = kept.map(({ address, podClass }, i): PodRow => {
      const identity = identities[i]!.number;
      return { address, identity, ingress: numberOf(podClass, 'ingress'), egress: numberOf(podClass, 'egress') };
    });
    for (const group of used) group.extend(this.identities);
    this.inUse = { pods: pods.length, policies: policies.length, groups: used.size };
    const groups = [...used].flatMap(({ tables }) => tables).filter((table) => !table.isEmpty);
    return { pods: rows, intervals, groups, dns };
  }

  /** What is kept of a policy; its peers are entered with it. */
  private keptPolicy(policy: PolicyRules): KeptPolicy {
    let kept = this.policies.get(policy);
    if (kept === undefined) {
      const { ingress = [], egress = [] } = policy;
      kept = { number: this.policies.size, classes: [], upTo: 0, namesPorts: ingress.some(namesPorts) };
      this.policies.set(policy, kept);
      for (const { peers } of [...ingress, ...egress]) if (peers !== undefined) this.peerSets.of(policy, peers);
    }
    return kept;
  }

  private blockNumber(block: Block): number {
    return this.blocks.numberOf(block, (contains) => {
      for (const pod of this.pods.values()) if (contains(pod.value)) pod.identity = undefined;
    });
  }

  private keptPod(pod: AddressedPod): KeptPod {
    let kept = this.pods.get(pod);
    if (kept === undefined) {
      const ip = parseIp(pod.ip)!;
      kept = { address: ipWords(ip), value: mappedValue(ip), podClass: this.classes.of(pod), identity: undefined };
      this.pods.set(pod, kept);
    }
    return kept;
  }

  private identityOf(pod: KeptPod): Identity {
    pod.identity ??= this.identities.of(pod.podClass, this.blocks.containing(pod.value));
    return pod.identity;
  }

  /** @returns the group of a class; undefined if no policy selects it */
  private groupsOf(policies: readonly PolicyRules[]) {
    const selecting = { ingress: new Map<number, PolicyRules[]>(), egress: new Map<number, PolicyRules[]>() };
    for (const policy of policies) {
      for (const { number } of this.classesOf(policy)) {
        if (policy.ingress) append(selecting.ingress, number, policy);
        if (policy.egress) append(selecting.egress, number, policy);
      }
    }
    const byClass = { ingress: new Map<number, Group | undefined>(), egress: new Map<number, Group | undefined>() };
    return (podClass: PodClass, direction: Direction): Group | undefined => {
      const found = byClass[direction];
      if (!found.has(podClass.number)) {
        found.set(podClass.number, this.groupBy(selecting[direction].get(podClass.number) ?? [], podClass, direction));
      }
      return found.get(podClass.number);
    };
  }

  private groupBy(policies: readonly PolicyRules[], podClass: PodClass, direction: Direction): Group | undefined {
    if (policies.length === 0) return undefined;
    const names = direction === 'ingress' && policies.some((policy) => this.keptPolicy(policy).namesPorts);
    const numbers = policies.map((policy) => this.keptPolicy(policy).number);
    const key = `${direction} ${names ? podClass.portsKey : ''} ${numbers.join()}`;
    let group = this.groups.get(key);
    if (group === undefined) {
      const rules = policies.flatMap((policy) =>
        policy[direction]!.map((rule, i) => ({
          tier: policy.tier,
          action: rule.action,
          ports: rule.ports,
          rule: decidingRule(policy, direction, i),
          auditedPolicy: policy.audit ? policy.name : undefined,
          peers: rule.peers === undefined ? undefined : this.peerSets.of(policy, rule.peers),
          namesPorts: namesPorts(rule),
        })),
      );
      const isolationOf = (audited: boolean) => {
        const isolating = policies.filter(({ tier, audit }) => tier === 'namespaced' && audit === audited);
        return isolating.length === 0 ? undefined : isolationBy(isolating, direction);
      };
      const [isolation, auditedIsolation] = [isolationOf(false), isolationOf(true)];
      const ports = names ? podClass.ports : [];
      group = new Group(
        FIRST_GROUP + 2 * this.groups.size,
        { direction, rules, isolation, auditedIsolation, ports },
        this.identities,
      );
      this.groups.set(key, group);
    }
    return group;
  }

  /** The classes of the pods that the policy applies to. */
  private classesOf(policy: PolicyRules): readonly PodClass[] {
    const kept = this.keptPolicy(policy);
    const { namespace, namespaces, podSelector } = policy;
    const names = namespaces === undefined ? undefined : this.peerSets.namespacesWith(namespaces);
    const { all } = this.classes;
    for (; kept.upTo < all.length; kept.upTo++) {
      const podClass = all[kept.upTo]!;
      const there = names === undefined ? podClass.namespace === namespace : names.has(podClass.namespace);
      if (there && matchesSelector(podSelector, podClass.labels)) kept.classes.push(podClass);
    }
    return kept.classes;
  }
}
