/**
 * The policies of a node: watches NetworkPolicies and ClusterNetworkPolicies, and, while there is one, the pods and
 * namespaces of the whole cluster, and keeps the policy table in force. Without policies nothing is watched but their own
 * lists.
 */
import { type NodeTable, nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { activeImage, type PolicyTable, withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { PolicyWriter } from '../../../native-free-dataplane/policies/writer.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { type Informer, type InformerHandlers, startInformer } from '../../api/client/informer.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { ApiError } from '../../api/errors.ts';
import type { Labels } from '../../api/selectors.ts';
import type { ClusterNetworkPolicy } from '../../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { KubeObject, NamespaceObject, NodeObject, Pod } from '../../api/types/objects.ts';
import { PolicyCompiler } from '../../compile/policies/compile-policies.ts';
import type { PolicyNode } from '../../compile/policies/name-selections.ts';
import { policyRules } from '../../compile/policies/parse-cluster-policy.ts';
import {
  addressedPod,
  policyAddressOf,
  policyNode,
  policyPartOf,
  policyPod,
} from '../../compile/policies/policy-objects.ts';
import type { PolicyRules } from '../../compile/policies/policy-rules.ts';
import type { LiveConfig } from '../config.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';
import { PodsByAddress } from './pods-by-address.ts';

/**
 * A change is applied at once, and those that follow within this time together: so that a burst does not compile each of
 * its changes, and no image is overwritten sooner after it was in use.
 */
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
  private podsByAddress = new PodsByAddress();
  private namespaces: Informer<NamespaceObject> | undefined;
  /** Labels of namespaces, by name; made anew when one of them changed. */
  private namespaceLabels: ReadonlyMap<string, Labels> | undefined;
  /** Watched while a policy names nodes. */
  private nodes: Informer<NodeObject> | undefined;
  private policyNodes: readonly PolicyNode[] | undefined;
  private readonly parsed = new WeakMap<KubeObject, PolicyRules>();
  /** Pods of this node with a device, by NAMESPACE/NAME: isolated from the moment they have one. */
  private readonly attached = new Map<string, { readonly pod: Pod; readonly ip: string }>();
  private readonly compiler = new PolicyCompiler();
  private readonly writer: PolicyWriter;
  /** Ends the wait for the next application; undefined while there is nothing to apply. */
  private cancel: (() => void) | undefined;
  private appliedAt = Number.NEGATIVE_INFINITY;

  constructor(options: NodePoliciesOptions) {
    this.options = options;
    this.writer = new PolicyWriter(options.tables.policies);
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
    const key = `${namespace}/${name}`;
    this.attached.set(key, { pod, ip });
    this.claimOwn(key, this.pods?.get(namespace, name) ?? pod, ip);
    if (this.isActive()) this.apply();
  }

  detach(namespace: string, name: string): void {
    const key = `${namespace}/${name}`;
    this.attached.delete(key);
    this.podsByAddress.release(ownClaim(key));
    if (this.isActive()) this.schedule();
  }

  /**
   * The pod with this address, on any node, as far as policies need it; undefined while there is no policy, and pods are
   * not watched.
   */
  podAt(ip: string): Pod | undefined {
    for (const pod of this.pods?.values() ?? []) if (addressedPod(pod)?.ip === ip) return pod;
    return undefined;
  }

  close(): void {
    this.cancel?.();
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
      const { client } = this.options;
      this.pods ??= startInformer(client, 'Pod', {}, this.podHandlers());
      const labels = changesOf<NamespaceObject>(namespaceText, () => {
        this.namespaceLabels = undefined;
        this.schedule();
      });
      this.namespaces ??= startInformer(client, 'Namespace', {}, labels);
      if (!this.allPolicies().some(namesNodes)) {
        this.nodes?.close();
        this.nodes = undefined;
        this.policyNodes = undefined;
      } else {
        const nodes = changesOf(nodeText, () => {
          this.policyNodes = undefined;
          this.schedule();
        });
        this.nodes ??= startInformer(client, 'Node', {}, nodes);
      }
    }
    this.onListed();
    this.schedule();
  }

  private forget(): void {
    for (const informer of [this.pods, this.namespaces, this.nodes]) informer?.close();
    this.pods = undefined;
    this.namespaces = undefined;
    this.namespaceLabels = undefined;
    this.nodes = undefined;
    this.policyNodes = undefined;
    this.podsByAddress = new PodsByAddress();
    for (const [key, { pod, ip }] of this.attached) this.claimOwn(key, pod, ip);
  }

  /** Keeps podsByAddress. */
  private podHandlers(): InformerHandlers<Pod> {
    const keyOf = ({ metadata }: Pod) => `${metadata.namespace ?? 'default'}/${metadata.name}`;
    const enter = (pod: Pod) => {
      const key = keyOf(pod);
      const addressed = addressedPod(pod);
      if (addressed === undefined) this.podsByAddress.release(key);
      else this.podsByAddress.claim(key, addressed, false);
      const own = this.attached.get(key);
      if (own !== undefined) this.claimOwn(key, pod, own.ip);
      this.schedule();
    };
    return {
      kept: policyPartOf,
      added: enter,
      updated: (pod, old) => {
        if (isOther(pod, old)) enter(pod);
      },
      deleted: (pod) => {
        this.podsByAddress.release(keyOf(pod));
        this.schedule();
      },
      synced: () => this.schedule(),
    };
  }

  private claimOwn(key: string, pod: Pod, ip: string): void {
    this.podsByAddress.claim(ownClaim(key), policyPod(pod, ip), true);
  }

  private schedule(): void {
    if (this.cancel !== undefined) return;
    const wait = this.appliedAt + TOGETHER_MS - performance.now();
    if (wait > 0) {
      const timer = setTimeout(() => this.apply(), wait);
      this.cancel = () => clearTimeout(timer);
    } else {
      // After all events that have arrived.
      const soon = setImmediate(() => this.apply());
      this.cancel = () => clearImmediate(soon);
    }
  }

  /** Put what is known now in force. */
  private apply(): void {
    this.cancel?.();
    this.cancel = undefined;
    this.appliedAt = performance.now();
    const { policies, node } = this.options.tables;
    if (!this.isActive()) {
      if (activeImage(policies) === 0) return;
      withdrawImage(policies);
      nextGeneration(node);
      return;
    }
    if (!this.isListed() || !this.pods?.synced || !this.namespaces?.synced || this.nodes?.synced === false) return;
    try {
      this.writer.write(this.compile());
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
    this.namespaceLabels ??= new Map(
      [...(this.namespaces?.values() ?? [])].map(({ metadata }) => [metadata.name, metadata.labels ?? {}]),
    );
    this.policyNodes ??= [...(this.nodes?.values() ?? [])].map(policyNode);
    return this.compiler.compile({
      policies: this.allPolicies(),
      namespaces: this.namespaceLabels,
      pods: this.podsByAddress.all,
      nodes: this.policyNodes,
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
}

const ownClaim = (key: string): string => `${key} here`;

/** Handlers that call `change` when something that policies see of an object is another. @param text what they see */
function changesOf<T extends KubeObject>(text: (object: T) => string, change: () => void): InformerHandlers<T> {
  const updated = (object: T, old: T) => {
    if (text(object) !== text(old)) change();
  };
  return { added: change, updated, deleted: change, synced: change };
}

const namespaceText = ({ metadata }: KubeObject): string => JSON.stringify(metadata.labels);
const nodeText = (node: NodeObject): string => JSON.stringify(policyNode(node));

const namesNodes = ({ ingress, egress }: PolicyRules): boolean =>
  [...(ingress ?? []), ...(egress ?? [])].some(({ peers }) => peers?.some(({ kind }) => kind === 'nodes'));

/** Did anything change that policies see? */
function isOther(pod: Pod, old: Pod): boolean {
  return (
    policyAddressOf(pod) !== policyAddressOf(old) ||
    JSON.stringify(pod.metadata.labels) !== JSON.stringify(old.metadata.labels)
  );
}
