/** Rules between the fields of one object, beyond its schema. Texts follow k8s.io/kubernetes/pkg/apis/core/validation. */

import { parseCidr } from '../../net/address.ts';
import { checkDefinition, type Definition } from '../custom/definition.ts';
import type { FieldError } from '../errors.ts';
import type {
  ConfigMap,
  EndpointSlice,
  Endpoints,
  KubeObject,
  NodeObject,
  Pod,
  Secret,
  Service,
} from '../types/objects.ts';
import { checkEndpointSlice, checkEndpoints, checkService } from './network.ts';
import { checkPodSpec } from './pod.ts';
import { checkWorkload } from './workload.ts';

/** All rules the object breaks; its schema is known to hold (unknown fields aside). */
export function checkRules(object: KubeObject): FieldError[] {
  switch (object.kind) {
    case 'Pod':
      return checkPodSpec((object as Pod).spec, 'spec');
    case 'ConfigMap':
    case 'Secret':
      return checkSize(object as DataHolder);
    case 'CustomResourceDefinition':
      return checkDefinition(object as Definition);
    case 'Service':
      return checkService(object as Service);
    case 'Endpoints':
      return checkEndpoints(object as Endpoints);
    case 'EndpointSlice':
      return checkEndpointSlice(object as EndpointSlice);
    case 'Node':
      return checkNode(object as NodeObject);
    default:
      return checkWorkload(object);
  }
}

type DataHolder = (ConfigMap | Secret) & Pick<ConfigMap, 'data' | 'binaryData'>;

/** MaxSecretSize, and the same for ConfigMaps (apis/core/types.go). */
const MAX_DATA_BYTES = 1024 * 1024;

function checkSize(object: DataHolder): FieldError[] {
  const texts = Object.values(object.data ?? {});
  // Base64 of n bytes has 4n/3 characters.
  const bytesOf = (text: string, encoded: boolean) => (encoded ? (text.length * 3) / 4 : Buffer.byteLength(text));
  let size = texts.reduce((sum, text) => sum + bytesOf(text, object.kind === 'Secret'), 0);
  for (const text of Object.values(object.binaryData ?? {})) size += bytesOf(text, true);
  if (size <= MAX_DATA_BYTES) return [];
  return [{ path: 'data', message: `Too long: may not be more than ${MAX_DATA_BYTES} bytes` }];
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
