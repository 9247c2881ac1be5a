/** The endpoints of Services as their nodes would get them, worked out without a cluster: pods and Services in, slices out. */
import { matchesLabels } from '../api/selectors.ts';
import { type EndpointSlice, type Pod, type Service, WellKnown } from '../api/types/objects.ts';
import { groupsFromPods } from '../controllers/services/endpoint-groups.ts';

/** As the endpoints controller makes them. Services without a selector have none. */
export function slicesOf(service: Service, pods: readonly Pod[]): EndpointSlice[] {
  const { metadata, spec } = service;
  const { selector = {} } = spec;
  if (Object.keys(selector).length === 0) return [];
  const selected = pods.filter(
    (pod) =>
      (pod.metadata.namespace ?? 'default') === (metadata.namespace ?? 'default') &&
      matchesLabels(selector, pod.metadata.labels),
  );
  return groupsFromPods(service, selected, () => undefined).map((group, i) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${metadata.name}-${i + 1}`,
      namespace: metadata.namespace ?? 'default',
      labels: { [WellKnown.SERVICE_NAME]: metadata.name },
      uid: '',
      resourceVersion: '',
      creationTimestamp: '',
    },
    ...group,
  }));
}
