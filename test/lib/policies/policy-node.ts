/** Puts NetworkPolicies in force on a TestNode, as the agent does. */
import { nextGeneration } from '../../../native-free-dataplane/node/config.ts';
import { withdrawImage } from '../../../native-free-dataplane/policies/table.ts';
import { writePolicies } from '../../../native-free-dataplane/policies/writer.ts';
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type { NetworkPolicy } from '../../../src/api/types/network-policy.ts';
import { compilePolicies } from '../../../src/compile/policies/compile-policies.ts';
import { parsePolicy } from '../../../src/compile/policies/parse-policy.ts';
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

/** @param specs of policies in namespace default; none: there are no policies */
export function setPolicies(
  node: TestNode,
  pods: readonly EvaluatedPod[],
  specs: readonly Spec[],
  dnsPort?: number,
): void {
  if (specs.length === 0) withdrawImage(node.policies);
  else {
    const policies = specs.map((spec, i) => ({ metadata: { name: `p${i}`, namespace: 'default' }, spec }));
    const contents = compilePolicies({
      policies: policies.map((policy) => parsePolicy(policy as NetworkPolicy)),
      namespaces: new Map<string, Record<string, string>>([
        ['default', {}],
        ['other', { team: 'a' }],
        ['kube-system', { 'kubernetes.io/metadata.name': 'kube-system' }],
      ]),
      pods: pods.map((pod) => ({
        ...pod,
        ports: pod.ports.map((port) => ({ ...port, protocol: SERVICE_PROTOCOLS[port.protocol]! })),
      })),
      nodes: [],
      dnsPort,
    });
    writePolicies(node.policies, contents);
  }
  nextGeneration(node.node);
}
