/** Addresses that no host of a cluster may have, and those to which no service may send traffic. */
import { type Cidr, contains, type IpAddress, parseCidr } from './address.ts';

/** Networks in which no host may have an address: their packets are dropped (RFC 1122 §3.2.1.3, RFC 3927). */
export const UNUSABLE_NETWORKS: readonly Cidr[] = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(
  (text) => parseCidr(text)!,
);

/** Kubernetes' texts (k8s.io/kubernetes/pkg/apis/core/validation, ValidateNonSpecialIP), and 0.0.0.0/8 as a whole. */
const NEVER_ENDPOINTS: readonly (readonly [Cidr, string])[] = (
  [
    ['0.0.0.0/8', 'may not be unspecified or in 0.0.0.0/8'],
    ['::/128', 'may not be unspecified (0.0.0.0 or ::)'],
    ['127.0.0.0/8', 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ['::1/128', 'may not be in the loopback range (127.0.0.0/8, ::1/128)'],
    ['169.254.0.0/16', 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'],
    ['fe80::/10', 'may not be in the link-local range (169.254.0.0/16, fe80::/10)'],
    ['224.0.0.0/4', 'may not be in the multicast range (224.0.0.0/4, ff00::/8)'],
    ['ff00::/8', 'may not be in the multicast range (224.0.0.0/4, ff00::/8)'],
    ['240.0.0.0/4', 'may not be in the reserved range (240.0.0.0/4, with the broadcast address)'],
  ] as const
).map(([cidr, why]) => [parseCidr(cidr)!, why]);

/**
 * The reason traffic may not be sent to `ip` through a service, or undefined. CVE-2021-25737; IPv4 addresses mapped
 * into IPv6 are included, as they would bypass the check.
 */
export function whyNotEndpoint(ip: IpAddress): string | undefined {
  const mapped = ip.family === 6 && ip.value >> 32n === 0xffffn;
  if (mapped) return 'must not be an IPv4-mapped IPv6 address';
  return NEVER_ENDPOINTS.find(([cidr]) => contains(cidr, ip))?.[1];
}
