/** Validation across the fields of one object. Messages follow k8s.io/kubernetes/pkg/apis/core/validation. */
import { parseCidr } from '../../net/address.ts';
import { checkDefinition, type Definition } from '../custom/definition.ts';
import type { FieldError } from '../errors.ts';
import type { ClusterNetworkPolicy } from '../types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../types/network-policy.ts';
import type {
  CertificateSigningRequest,
  ConfigMap,
  EndpointSlice,
  Endpoints,
  HorizontalPodAutoscaler,
  Ingress,
  IPAddress,
  KubeObject,
  LimitRange,
  NodeObject,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PriorityClass,
  ResourceQuota,
  Secret,
  Service,
  ServiceCIDR,
} from '../types/objects.ts';
import { checkAutoscaler } from './autoscaler.ts';
import { checkClusterNetworkPolicy } from './cluster-network-policy.ts';
import { checkIngress } from './ingress.ts';
import { checkLimitRange, checkQuota } from './limits.ts';
import { checkEndpointSlice, checkEndpoints, checkService } from './network.ts';
import { checkNetworkPolicy } from './network-policy.ts';
import { checkPodSpec } from './pod.ts';
import { checkPriorityClass } from './priority.ts';
import { checkDataSize, checkSecret } from './secret.ts';
import { checkIpAddress, checkServiceCidr } from './service-addresses.ts';
import { checkSigningRequest } from './signing-requests.ts';
import { checkClaim, checkVolume } from './storage.ts';
import { checkWorkload } from './workload.ts';

/** Kinds whose published schema does not require a spec, and whose rules do. */
const MAY_LACK_SPEC: ReadonlySet<string> = new Set([
  'CronJob',
  'DaemonSet',
  'HorizontalPodAutoscaler',
  'Job',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'ReplicationController',
  'StatefulSet',
]);

/** All errors of an object that has passed its schema (except for unknown fields). */
export function checkRules(given: KubeObject): FieldError[] {
  // A missing structure is an empty one, as in Go.
  const lacksSpec = MAY_LACK_SPEC.has(given.kind) && (given as { spec?: object }).spec === undefined;
  const object = lacksSpec ? ({ ...given, spec: {} } as KubeObject) : given;
  switch (object.kind) {
    case 'Pod':
      return checkPodSpec((object as Pod).spec, 'spec');
    case 'ConfigMap':
      return checkDataSize(object as ConfigMap);
    case 'Secret':
      return checkSecret(object as Secret);
    case 'CustomResourceDefinition':
      return checkDefinition(object as Definition);
    case 'Service':
      return checkService(object as Service);
    case 'Endpoints':
      return checkEndpoints(object as Endpoints);
    case 'NetworkPolicy':
      return checkNetworkPolicy(object as NetworkPolicy);
    case 'ClusterNetworkPolicy':
      return checkClusterNetworkPolicy(object as ClusterNetworkPolicy);
    case 'EndpointSlice':
      return checkEndpointSlice(object as EndpointSlice);
    case 'Node':
      return checkNode(object as NodeObject);
    case 'ResourceQuota':
      return checkQuota(object as ResourceQuota);
    case 'LimitRange':
      return checkLimitRange(object as LimitRange);
    case 'PersistentVolumeClaim':
      return checkClaim(object as PersistentVolumeClaim);
    case 'PersistentVolume':
      return checkVolume(object as PersistentVolume);
    case 'HorizontalPodAutoscaler':
      return checkAutoscaler(object as HorizontalPodAutoscaler);
    case 'Ingress':
      return checkIngress(object as Ingress);
    case 'PriorityClass':
      return checkPriorityClass(object as PriorityClass);
    case 'ServiceCIDR':
      return checkServiceCidr(object as ServiceCIDR);
    case 'CertificateSigningRequest':
      return checkSigningRequest(object as CertificateSigningRequest);
    case 'IPAddress':
      return checkIpAddress(object as IPAddress);
    default:
      return checkWorkload(object);
  }
}

function checkNode({ spec }: NodeObject): FieldError[] {
  const errors: FieldError[] = [];
  const check = (cidr: string | undefined, path: string) => {
    if (cidr !== undefined && parseCidr(cidr) === undefined) {
      errors.push({ path, message: `expected a CIDR such as 10.244.1.0/24, got "${cidr}"` });
    }
  };
  check(spec?.podCIDR, 'spec.podCIDR');
  spec?.podCIDRs?.forEach((cidr, i) => {
    check(cidr, `spec.podCIDRs[${i}]`);
  });
  if (spec?.podCIDR !== undefined && spec.podCIDRs?.[0] !== undefined && spec.podCIDR !== spec.podCIDRs[0]) {
    errors.push({ path: 'spec.podCIDRs[0]', message: 'must be the same as `podCIDR`' });
  }
  return errors;
}
