/** The policy tables of this machine's nodes, and the API's objects that they were compiled from. */
import { type NumberedRule, readRules } from '../../../native-free-dataplane/policies/rules.ts';
import { attachPolicies, type PolicyTable } from '../../../native-free-dataplane/policies/table.ts';
import type { ApiClient } from '../../api/client/client.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import type { ClusterNetworkPolicy } from '../../api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { NodeObject, Pod } from '../../api/types/objects.ts';
import { addressedPod, policyNode } from '../../compile/policies/policy-objects.ts';
import type { Direction } from '../../compile/policies/policy-rules.ts';
import { openShared } from '../../linux/shm.ts';
import { listShared } from '../../linux/shm-files.ts';
import { nthAddress, parseCidr, printIp } from '../../net/address.ts';
import type { PolicyEnd, PolicyObjects } from '../../observe/policy/explain.ts';
import { type SeenConnection, seenConnections } from '../../observe/policy/seen.ts';
import { memoryName, nodesWith, SHM_PREFIX } from '../../shm-names.ts';
import { nodesWithFlows, readFlows } from './conntrack.ts';

export interface MappedPolicies {
  readonly node: string;
  readonly table: PolicyTable;
  close(): void;
}

/** The tables of all nodes of this machine; without those of another version. */
export function mapPolicies(): MappedPolicies[] {
  return nodesWith('policies', listShared(SHM_PREFIX)).flatMap((node) => {
    const memory = openShared(memoryName(node, 'policies'));
    const table = attachPolicies(memory.buffer);
    if (table !== undefined) return [{ node, table, close: () => memory.close() }];
    memory.close();
    return [];
  });
}

/** The rules of all nodes, with the sum of their counters. */
export function countedRules(): Omit<NumberedRule, 'number'>[] {
  const sums = new Map<string, Omit<NumberedRule, 'number'>>();
  for (const { table, close } of mapPolicies()) {
    for (const { number: _, ...rule } of readRules(table)) {
      const key = [rule.tier, rule.policies, rule.direction, rule.index, rule.name].join('\n');
      sums.set(key, { ...rule, count: rule.count + (sums.get(key)?.count ?? 0) });
    }
    close();
  }
  return [...sums.values()];
}

/** How often a rule has decided on this machine's nodes. @param index its position from 1; 0: isolation by these policies */
export type RuleCounts = (policies: string, direction: Direction, index: number) => number;

export function ruleCounts(counted: ReturnType<typeof countedRules> = countedRules()): RuleCounts {
  const counts = new Map(counted.map((one) => [`${one.policies} ${one.direction} ${one.index}`, one.count] as const));
  return (policies, direction, index) => counts.get(`${policies} ${direction} ${index}`) ?? 0;
}

export interface LivePolicies extends PolicyObjects {
  readonly policies: readonly (NetworkPolicy | ClusterNetworkPolicy)[];
  readonly pods: readonly Pod[];
  readonly nodeObjects: readonly NodeObject[];
}

export async function livePolicies(client: ApiClient): Promise<LivePolicies> {
  const [policies, clusterPolicies, namespaces, nodes, pods] = await Promise.all([
    client.list('NetworkPolicy'),
    client.list('ClusterNetworkPolicy'),
    client.list('Namespace'),
    client.list('Node'),
    client.list('Pod'),
  ]);
  return {
    policies: [...policies.items, ...clusterPolicies.items] as unknown as NetworkPolicy[],
    namespaces: new Map(namespaces.items.map(({ metadata }) => [metadata.name, metadata.labels ?? {}])),
    nodes: nodes.items.map(policyNode),
    pods: pods.items,
    nodeObjects: nodes.items,
  };
}

/** Stands for the name server of each node, as policies see it. */
export const NAME_SERVER = {
  namespace: 'kube-system',
  labels: { 'k8s-app': 'kube-dns' },
  ports: [],
  ip: 'kube-dns',
} as const;
const DOMAIN_PORT = 53;

/**
 * The connections that the nodes of this machine track, as policies judge them. Without those from a node to its own
 * pods, which are always allowed, and those that another node has judged: both come from a gateway.
 */
export function trackedConnections({ nodeObjects, nodes }: LivePolicies): SeenConnection[] {
  const gateways = new Set(
    nodeObjects.flatMap(({ spec }) => {
      const network = spec?.podCIDR === undefined ? undefined : parseCidr(spec.podCIDR);
      const gateway = network && nthAddress(network, 1);
      return gateway === undefined ? [] : [printIp(gateway)];
    }),
  );
  const ofNodes = new Set(nodes.flatMap(({ addresses }) => addresses));
  const seen = seenConnections(nodesWithFlows().flatMap(readFlows), gateways);
  return seen.map((one) =>
    one.throughService && one.port === DNS_PORT && ofNodes.has(one.to)
      ? { ...one, to: NAME_SERVER.ip, port: DOMAIN_PORT }
      : one,
  );
}

/** Addresses as ends of connections, by the pods that have them. */
export function endsOf(pods: readonly Pod[]): (ip: string) => PolicyEnd {
  const byAddress = new Map<string, PolicyEnd>();
  for (const pod of pods) {
    const found = addressedPod(pod);
    const text = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
    if (found !== undefined) byAddress.set(found.ip, { text, ip: found.ip, pod: found });
  }
  byAddress.set(NAME_SERVER.ip, { text: 'the name server', ip: NAME_SERVER.ip, pod: NAME_SERVER });
  return (ip) => byAddress.get(ip) ?? { text: ip, ip, pod: undefined };
}
