/** Puts policies in force on a TestNode, as the agent does. */
import { nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type { ClusterNetworkPolicy } from '../../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { compilePolicies } from '../../../src/compile/policies/compile-policies.ts';
import type { PolicyNode } from '../../../src/compile/policies/name-selections.ts';
import { policyRules } from '../../../src/compile/policies/parse-cluster-policy.ts';
import type { TestNode } from '../test-node.ts';
import type { EvaluatedPod } from './evaluator.ts';

export type Spec = NonNullable<NetworkPolicy['spec']>;

export const policyPod = (ip: string, labels: Record<string, string> = {}, more: Partial<EvaluatedPod> = {}) => ({
  ip,
  labels,
  namespace: 'default',
  ports: [],
  ...more,
});

/** What policies can refer to besides pods. */
interface More {
  /** ClusterNetworkPolicies, with names in their order. */
  readonly cluster?: readonly ClusterNetworkPolicy['spec'][];
  readonly nodes?: readonly PolicyNode[];
  readonly dnsPort?: number;
  /** Names of the policies that are only audited: p0, p1, … and c0, c1, … */
  readonly audited?: readonly string[];
}

/** @param specs of policies in namespace default */
export function setPolicies(
  node: TestNode,
  pods: readonly EvaluatedPod[],
  specs: readonly Spec[],
  { cluster = [], nodes = [], dnsPort, audited = [] }: More = {},
): void {
  if (specs.length + cluster.length === 0) withdrawImage(node.policies);
  else {
    const metadata = (name: string, namespace?: string) => ({
      name,
      ...(namespace && { namespace }),
      ...(audited.includes(name) && { annotations: { 'dataplane.dev/policy-audit': 'true' } }),
    });
    const policies = [
      ...specs.map((spec, i) => ({ kind: 'NetworkPolicy', metadata: metadata(`p${i}`, 'default'), spec })),
      ...cluster.map((spec, i) => ({ kind: 'ClusterNetworkPolicy', metadata: metadata(`c${i}`), spec })),
    ];
    const contents = compilePolicies({
      policies: policies.map((policy) => policyRules(policy as NetworkPolicy | ClusterNetworkPolicy)),
      namespaces: new Map<string, Record<string, string>>([
        ['default', {}],
        ['other', { team: 'a' }],
        ['kube-system', { 'kubernetes.io/metadata.name': 'kube-system' }],
      ]),
      pods: pods.map((pod) => ({
        ...pod,
        ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
      })),
      nodes,
      dnsPort,
    });
    writePolicies(node.policies, contents);
  }
  nextGeneration(node.node);
}
