/** Names for the addresses of flows, kept up to date while they are followed. */
import { ApiClient } from '../../api/client/client.ts';
import { startInformer } from '../../api/client/informer.ts';
import type { KubeObject, NodeObject, Pod } from '../../api/types/objects.ts';
import { apiTarget } from '../../cluster/state.ts';
import { FlowAddresses } from '../../observe/flows/addresses.ts';
import { FlowPolicies, type Policy } from '../../observe/flows/policies.ts';

/** How long to wait for names: flows are shown without, rather than not at all. */
const NAMES_MS = 3000;

export interface FlowNames {
  readonly addresses: FlowAddresses;
  readonly policies: FlowPolicies;
  /** Why there are no names; undefined if there are. */
  readonly missing: string | undefined;
  close(): void;
}

/** Resolves when the names are known, or when the API does not answer in time; they follow when it does. */
export async function openFlowNames(): Promise<FlowNames> {
  const addresses = new FlowAddresses();
  const client = new ApiClient(apiTarget(), { timeoutMs: NAMES_MS });
  let problem: string | undefined;
  const failed = { problem: (error: Error) => (problem = error.message) };
  const policies = new FlowPolicies(addresses.policyPod);
  const setPod = (pod: Pod): void => {
    addresses.setPod(pod);
    policies.podChanged();
  };
  const setPolicy = (policy: KubeObject): void => policies.setPolicy(policy as Policy);
  const removePolicy = (policy: KubeObject): void => policies.removePolicy(policy as Policy);
  const setNamespace = policies.setNamespace.bind(policies);
  const setNode = (node: NodeObject): void => {
    addresses.setNode(node);
    policies.setNode(node);
  };
  const setService = addresses.setService.bind(addresses);
  // An API server need not have this kind.
  const clusterPolicies = startInformer(
    client,
    'ClusterNetworkPolicy',
    {},
    { added: setPolicy, updated: setPolicy, deleted: removePolicy },
  );
  const informers = [
    startInformer(client, 'Pod', {}, { added: setPod, updated: setPod, ...failed }),
    startInformer(client, 'Node', {}, { added: setNode, updated: setNode, ...failed }),
    startInformer(client, 'Namespace', {}, { added: setNamespace, updated: setNamespace, ...failed }),
    startInformer(
      client,
      'NetworkPolicy',
      {},
      { added: setPolicy, updated: setPolicy, deleted: removePolicy, ...failed },
    ),
    clusterPolicies,
    startInformer(
      client,
      'Service',
      {},
      {
        added: setService,
        updated: (service, old) => {
          addresses.removeService(old);
          setService(service);
        },
        deleted: (service) => addresses.removeService(service),
        ...failed,
      },
    ),
  ];
  const synced = Promise.all(
    informers.filter((informer) => informer !== clusterPolicies).map((informer) => informer.whenSynced()),
  ).then(
    () => true,
    () => false,
  );
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), NAMES_MS);
  });
  const complete = await Promise.race([synced, late]);
  clearTimeout(timer);
  return {
    addresses,
    policies,
    missing: complete ? undefined : (problem ?? 'the API does not answer'),
    close: () => {
      for (const informer of informers) informer.close();
      client.close();
    },
  };
}
