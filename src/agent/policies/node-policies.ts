/**
 * The policies of a node: watches NetworkPolicies, and, while there is one, the pods and namespaces of the whole
 * cluster, and keeps the policy table in force. Without policies nothing is watched but their own list.
 */
import { type NodeTable, nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { RuleNumbers } from '../../../native-free-dataplane/policies/rules.ts';
import { activeImage, type PolicyTable, withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { type Informer, startInformer } from '../../api/client/informer.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { matchesSelector } from '../../api/selectors.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { KubeObject, Pod } from '../../api/types/objects.ts';
import { type AddressedPod, PolicyCompiler } from '../../compile/policies/compile-policies.ts';
import { parsePolicy } from '../../compile/policies/parse-policy.ts';
import { policyAddressOf, policyPod } from '../../compile/policies/policy-objects.ts';
import type { PolicyRules } from '../../compile/policies/policy-rules.ts';
import type { LiveConfig } from '../config.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';

/** Changes within this time are applied together; and an image is not overwritten sooner after it was in use. */
const TOGETHER_MS = 5;

export interface NodePoliciesOptions {
  readonly client: ApiClient;
  readonly tables: { readonly policies: PolicyTable; readonly node: NodeTable };
  readonly config: LiveConfig;
  readonly recordEvent: RecordEvent;
  readonly log: (line: string) => void;
}

export class NodePolicies implements Part {
  private readonly options: NodePoliciesOptions;
  private policies: Informer<KubeObject> | undefined;
  private pods: Informer<Pod> | undefined;
  private namespaces: Informer<KubeObject> | undefined;
  private readonly parsed = new WeakMap<KubeObject, PolicyRules>();
  /** Pods of this node with a device, by NAMESPACE/NAME: isolated from the moment they have one. */
  private readonly attached = new Map<string, { readonly pod: Pod; readonly ip: string }>();
  private readonly compiler = new PolicyCompiler();
  private readonly numbers: RuleNumbers;
  private timer: NodeJS.Timeout | undefined;

  constructor(options: NodePoliciesOptions) {
    this.options = options;
    this.numbers = new RuleNumbers(options.tables.policies);
  }

  start(): void {
    const change = () => this.follow();
    const handlers = { added: change, updated: change, deleted: change, synced: change };
    this.policies = startInformer(this.options.client, 'NetworkPolicy', {}, handlers);
  }

  /** Resolves when the policies are in force. */
  async whenSynced(): Promise<void> {
    await this.policies?.whenSynced();
    await Promise.all([this.pods?.whenSynced(), this.namespaces?.whenSynced()]);
    this.apply();
  }

  /** Isolate a pod of this node before its first packet. @param pod undefined if its object is not known */
  attach(namespace: string, name: string, pod: Pod | undefined, ip: string): void {
    if (pod === undefined) return;
    this.attached.set(`${namespace}/${name}`, { pod, ip });
    if (this.isActive()) this.apply();
  }

  detach(namespace: string, name: string): void {
    this.attached.delete(`${namespace}/${name}`);
    if (this.isActive()) this.schedule();
  }

  /** The policies that isolate a pod in this direction, as NAMESPACE/NAME. */
  isolating({ metadata }: Pod, direction: 'ingress' | 'egress'): string[] {
    const { namespace, labels = {} } = metadata;
    return [...(this.policies?.values() ?? [])]
      .map((policy) => this.rulesOf(policy))
      .filter(
        (rules) =>
          rules[direction] !== undefined && rules.namespace === namespace && matchesSelector(rules.podSelector, labels),
      )
      .map(({ name }) => name);
  }

  /** The pod with this address, on any node; undefined while there is no policy, and pods are not watched. */
  podAt(ip: string): Pod | undefined {
    for (const pod of this.pods?.values() ?? []) if (policyAddressOf(pod) === ip) return pod;
    return undefined;
  }

  close(): void {
    clearTimeout(this.timer);
    for (const informer of [this.policies, this.pods, this.namespaces]) informer?.close();
  }

  private isActive(): boolean {
    return (this.policies?.size ?? 0) > 0;
  }

  /** The policies changed: watch what they refer to, or nothing. */
  private follow(): void {
    if (!this.policies?.synced) return;
    if (!this.isActive()) {
      this.pods?.close();
      this.namespaces?.close();
      this.pods = undefined;
      this.namespaces = undefined;
    } else if (this.pods === undefined) {
      const { client } = this.options;
      const change = () => this.schedule();
      const podChanged = (pod: Pod, old: Pod) => {
        if (isOther(pod, old)) this.schedule();
      };
      this.pods = startInformer(
        client,
        'Pod',
        {},
        { added: change, updated: podChanged, deleted: change, synced: change },
      );
      const handlers = { added: change, updated: change, deleted: change, synced: change };
      this.namespaces = startInformer(client, 'Namespace', {}, handlers);
    }
    this.schedule();
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => this.apply(), TOGETHER_MS);
  }

  /** Put what is known now in force. */
  private apply(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { policies, node } = this.options.tables;
    if (!this.isActive()) {
      if (activeImage(policies) === 0) return;
      withdrawImage(policies);
      nextGeneration(node);
      return;
    }
    if (!this.pods?.synced || !this.namespaces?.synced) return;
    try {
      writePolicies(policies, this.compile(), this.numbers);
      // Established connections are judged again by their next packet.
      nextGeneration(node);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      // The policies in force stay.
      const { config, recordEvent, log } = this.options;
      log(error.message);
      recordEvent(config.node, 'Warning', 'PoliciesNotInForce', error.message);
    }
  }

  private compile() {
    const namespaces = new Map<string, Readonly<Record<string, string>>>();
    for (const { metadata } of this.namespaces?.values() ?? []) namespaces.set(metadata.name, metadata.labels ?? {});
    return this.compiler.compile({
      policies: [...(this.policies?.values() ?? [])].map((policy) => this.rulesOf(policy)),
      namespaces,
      pods: this.allPods(),
      nodes: [],
      // Elsewhere pods of the cluster answer.
      dnsPort: this.options.config.current.nameServer === undefined ? undefined : DNS_PORT,
    });
  }

  private rulesOf(policy: KubeObject): PolicyRules {
    let rules = this.parsed.get(policy);
    if (rules === undefined) {
      rules = parsePolicy(policy as NetworkPolicy);
      this.parsed.set(policy, rules);
    }
    return rules;
  }

  /** One pod for each address; of two, this node's own. */
  private allPods(): AddressedPod[] {
    const byAddress = new Map<string, AddressedPod>();
    for (const pod of this.pods?.values() ?? []) {
      const ip = policyAddressOf(pod);
      if (ip !== undefined) byAddress.set(ip, policyPod(pod, ip));
    }
    for (const [key, { pod, ip }] of this.attached) {
      const [namespace = '', name = ''] = key.split('/');
      // The latest version of its labels, where that has arrived.
      byAddress.set(ip, policyPod(this.pods?.get(namespace, name) ?? pod, ip));
    }
    return [...byAddress.values()];
  }
}

/** Did anything change that policies see? */
function isOther(pod: Pod, old: Pod): boolean {
  return (
    policyAddressOf(pod) !== policyAddressOf(old) ||
    JSON.stringify(pod.metadata.labels) !== JSON.stringify(old.metadata.labels)
  );
}
