/**
 * Policies, namespaces, nodes and pods → the contents of the policy table (native-free-dataplane/policies/table.ts). The
 * result depends on the input alone. What it is made of is kept from call to call, so that a change costs what it
 * affects: the lists of pods and policies are compared with those of the call before, and only what follows from a
 * difference is made anew.
 */
import type { PolicyContents } from '../../../native-free-dataplane/policies/contents.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import type { Labels } from '../../api/selectors.ts';
import { AddressBlocks } from './address-blocks.ts';
import { PoliciesByClass } from './class-policies.ts';
import { Identities } from './identities.ts';
import { type AddressedPod, KeptPods } from './kept-pods.ts';
import { difference } from './list-difference.ts';
import { NameSelections, type PolicyNode } from './name-selections.ts';
import { PeerSets } from './peer-sets.ts';
import type { PolicyPod } from './pod-classes.ts';
import type { PolicyRules } from './policy-rules.ts';

export interface PolicyInput {
  /** The same object for a policy or pod that did not change, at the same place if possible. */
  readonly policies: readonly PolicyRules[];
  /** The list is not changed afterwards: the same list again means the same pods. */
  readonly pods: readonly AddressedPod[];
  /** Labels of namespaces, by name. The same object if nothing changed. */
  readonly namespaces: ReadonlyMap<string, Labels>;
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
  private kept = new Kept();

  /** @returns contents that are valid until the next call */
  compile(input: PolicyInput): PolicyContents {
    if (this.kept.isWorn) this.kept = new Kept();
    return this.kept.compile(input);
  }
}

/** Classes, identities, blocks and sets of peers are only added: with more than twice as many, and these, all is made anew. */
const SPARE = 4000;

class Kept {
  private readonly identities = new Identities();
  private readonly blocks = new AddressBlocks();
  private readonly names = new NameSelections();
  private readonly peerSets: PeerSets;
  private readonly byClass: PoliciesByClass;
  private readonly keptPods = new KeptPods();
  private policies: readonly PolicyRules[] = [];
  private pods: readonly AddressedPod[] = [];
  private intervals: PolicyContents['intervals'] = [];
  /** Number of blocks that `intervals` has. */
  private blocksDone = -1;
  private sizeAtFirst = 0;

  constructor() {
    const { names, identities, blocks, keptPods } = this;
    this.peerSets = new PeerSets({
      ...{ names, identities },
      blockNumber: (block) => blocks.numberOf(block, (range) => keptPods.regroup(range)),
    });
    this.byClass = new PoliciesByClass({ names, identities, peerSets: this.peerSets });
  }

  get isWorn(): boolean {
    return this.size > 2 * this.sizeAtFirst + SPARE;
  }

  compile({ policies, pods, namespaces, nodes, dnsPort }: PolicyInput): PolicyContents {
    this.followPolicies(policies, this.names.follow(namespaces, nodes));
    this.followPods(pods);
    // The blocks of all policies are known now, and with them the identities.
    this.keptPods.identify(this.identities, this.blocks);
    this.renewIntervals();
    const dns = dnsPort ? { port: dnsPort, identity: this.nameServer() } : undefined;
    this.peerSets.extend();
    this.keptPods.renewRowsOf(this.byClass.renew());
    this.keptPods.renew();
    const groups = [...this.byClass.allGroups()];
    for (const group of groups) group.extend(this.identities);
    if (this.sizeAtFirst === 0) this.sizeAtFirst = this.size;
    return {
      pods: this.keptPods.rows,
      intervals: this.intervals,
      groups: groups.flatMap(({ tables }) => tables).filter((table) => !table.isEmpty),
      dns,
    };
  }

  private get size(): number {
    const { identities, blocks, peerSets, byClass, names } = this;
    return identities.all.length + blocks.size + peerSets.size + byClass.size + names.size;
  }

  /** @param touched policies whose selectors select other namespaces or nodes than before */
  private followPolicies(policies: readonly PolicyRules[], touched: Set<PolicyRules>): void {
    const { removed, added } = difference(this.policies, policies);
    for (const policy of removed) {
      this.byClass.remove(policy);
      touched.delete(policy);
    }
    for (const policy of touched) this.byClass.remove(policy);
    for (const policy of [...added, ...touched]) this.byClass.add(policy);
    if (removed.length + added.length > 0) this.policies = policies.slice();
  }

  private followPods(pods: readonly AddressedPod[]): void {
    if (pods === this.pods) return;
    const { removed, added } = difference(this.pods, pods);
    for (const pod of removed) this.byClass.left(this.keptPods.remove(pod));
    this.keptPods.add(added, (pod) => this.byClass.classOf(pod));
    this.pods = pods;
  }

  private renewIntervals(): void {
    if (this.blocksDone === this.blocks.size) return;
    this.blocksDone = this.blocks.size;
    this.intervals = this.blocks.intervals.map((interval) => {
      interval.identity ??= this.identities.of(undefined, interval.blocks);
      return { first: interval.first, identity: interval.identity.number };
    });
  }

  private nameServer(): number {
    return this.identities.of(this.byClass.classOf(NAME_SERVER).podClass, []).number;
  }
}
