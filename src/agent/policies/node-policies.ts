/**
 * The policies of a node: watches NetworkPolicies and ClusterNetworkPolicies, and, while there is one, the pods and
 * namespaces of the whole cluster, and keeps the policy table in force. Without policies nothing is watched but their own
 * lists.
 */
import { type NodeTable, nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { RuleNumbers } from '../../../native-free-dataplane/policies/rules.ts';
import { activeImage, type PolicyTable, withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { type Informer, startInformer } from '../../api/client/informer.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { ApiError } from '../../api/errors.ts';
import type { ClusterNetworkPolicy } from '../../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { KubeObject, NodeObject, Pod } from '../../api/types/objects.ts';
import { type AddressedPod, PolicyCompiler } from '../../compile/policies/compile-policies.ts';
import { policyRules } from '../../compile/policies/parse-cluster-policy.ts';
import { addressedPod, policyAddressOf, policyNode, policyPod } from '../../compile/policies/policy-objects.ts';
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
  private clusterPolicies: Informer<KubeObject> | undefined;
  /** The API does not have the kind: no ClusterNetworkPolicies. It is asked again and again. */
  private withoutClusterPolicies = false;
  /** Called once when both kinds of policy are known, or known to be missing. */
  private onListed: () => void = () => {};
  private readonly listed = new Promise<void>((resolve) => {
    this.onListed = resolve;
  });
  private pods: Informer<Pod> | undefined;
  private namespaces: Informer<KubeObject> | undefined;
  /** Watched while a policy names nodes. */
  private nodes: Informer<NodeObject> | undefined;
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
    const { client } = this.options;
    const change = () => this.follow();
    const handlers = { added: change, updated: change, deleted: change, synced: change };
    this.policies = startInformer(client, 'NetworkPolicy', {}, handlers);
    const problem = (error: Error) => {
      if (this.withoutClusterPolicies || !(error instanceof ApiError && error.code === 404)) return;
      this.withoutClusterPolicies = true;
      this.follow();
    };
    this.clusterPolicies = startInformer(client, 'ClusterNetworkPolicy', {}, { ...handlers, problem });
  }

  /** Resolves when the policies are in force. */
  async whenSynced(): Promise<void> {
    await this.listed;
    await Promise.all([this.pods, this.namespaces, this.nodes].map((informer) => informer?.whenSynced()));
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

  /** The pod with this address, on any node; undefined while there is no policy, and pods are not watched. */
  podAt(ip: string): Pod | undefined {
    for (const pod of this.pods?.values() ?? []) if (addressedPod(pod)?.ip === ip) return pod;
    return undefined;
  }

  close(): void {
    clearTimeout(this.timer);
    for (const informer of [this.policies, this.clusterPolicies]) informer?.close();
    this.forget();
  }

  private isActive(): boolean {
    return (this.policies?.size ?? 0) + (this.clusterPolicies?.size ?? 0) > 0;
  }

  private isListed(): boolean {
    return this.policies?.synced === true && (this.clusterPolicies?.synced === true || this.withoutClusterPolicies);
  }

  /** The policies changed: watch what they refer to, or nothing. */
  private follow(): void {
    if (!this.isListed()) return;
    if (!this.isActive()) this.forget();
    else {
      const change = () => this.schedule();
      const handlers = { added: change, updated: change, deleted: change, synced: change };
      const { client } = this.options;
      const updated = (pod: Pod, old: Pod) => {
        if (isOther(pod, old)) this.schedule();
      };
      this.pods ??= startInformer(client, 'Pod', {}, { ...handlers, updated });
      this.namespaces ??= startInformer(client, 'Namespace', {}, handlers);
      if (!this.allPolicies().some(namesNodes)) {
        this.nodes?.close();
        this.nodes = undefined;
      } else this.nodes ??= startInformer(client, 'Node', {}, handlers);
    }
    this.onListed();
    this.schedule();
  }

  private forget(): void {
    for (const informer of [this.pods, this.namespaces, this.nodes]) informer?.close();
    this.pods = undefined;
    this.namespaces = undefined;
    this.nodes = undefined;
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
    if (!this.isListed() || !this.pods?.synced || !this.namespaces?.synced || this.nodes?.synced === false) return;
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
      policies: this.allPolicies(),
      namespaces,
      pods: this.allPods(),
      nodes: [...(this.nodes?.values() ?? [])].map(policyNode),
      // Elsewhere pods of the cluster answer.
      dnsPort: this.options.config.current.nameServer === undefined ? undefined : DNS_PORT,
    });
  }

  private allPolicies(): PolicyRules[] {
    const objects = [...(this.policies?.values() ?? []), ...(this.clusterPolicies?.values() ?? [])];
    return objects.map((policy) => this.rulesOf(policy));
  }

  private rulesOf(policy: KubeObject): PolicyRules {
    let rules = this.parsed.get(policy);
    if (rules === undefined) {
      rules = policyRules(policy as NetworkPolicy | ClusterNetworkPolicy);
      this.parsed.set(policy, rules);
    }
    return rules;
  }

  /** One pod for each address; of two, this node's own. */
  private allPods(): AddressedPod[] {
    const byAddress = new Map<string, AddressedPod>();
    for (const pod of this.pods?.values() ?? []) {
      const addressed = addressedPod(pod);
      if (addressed !== undefined) byAddress.set(addressed.ip, addressed);
    }
    for (const [key, { pod, ip }] of this.attached) {
      const [namespace = '', name = ''] = key.split('/');
      // The latest version of its labels, where that has arrived.
      byAddress.set(ip, policyPod(this.pods?.get(namespace, name) ?? pod, ip));
    }
    return [...byAddress.values()];
  }
}

const namesNodes = ({ ingress, egress }: PolicyRules): boolean =>
  [...(ingress ?? []), ...(egress ?? [])].some(({ peers }) => peers?.some(({ kind }) => kind === 'nodes'));

/** Did anything change that policies see? */
function isOther(pod: Pod, old: Pod): boolean {
  return (
    policyAddressOf(pod) !== policyAddressOf(old) ||
    JSON.stringify(pod.metadata.labels) !== JSON.stringify(old.metadata.labels)
  );
}
