/** ServiceCIDR and IPAddress (k8s.io/kubernetes/pkg/apis/networking/validation). */
import { isDeepStrictEqual } from 'node:util';
import { type Cidr, parseCidr, parseIp, printCidr, printIp } from '../../net/address.ts';
import type { FieldError } from '../errors.ts';
import type { IPAddress, ServiceCIDR } from '../types/objects.ts';
import { IMMUTABLE, invalid, NOT_A_CIDR, NOT_AN_ADDRESS, required } from './field-errors.ts';

export function checkServiceCidr({ spec }: ServiceCIDR): FieldError[] {
  const cidrs = spec?.cidrs ?? [];
  if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')];
  if (cidrs.length > 2) return [invalid('spec.cidrs', cidrs, 'may only hold up to 2 values')];
  const errors: FieldError[] = [];
  const families = cidrs.map((text, i) => {
    const cidr = parseCidr(text);
    const why = whyNotCidr(text, cidr);
    if (why !== undefined) errors.push(invalid(`spec.cidrs[${i}]`, text, why));
    return cidr?.family;
  });
  if (errors.length === 0 && families.length === 2 && families[0] === families[1]) {
    const message = 'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64';
    errors.push(invalid('spec.cidrs', cidrs, message));
  }
  return errors;
}

function whyNotCidr(text: string, cidr: Cidr | undefined): string | undefined {
  if (cidr === undefined) return NOT_A_CIDR;
  if (cidr.family === 6) return 'IPv6 is not configured on this cluster';
  return printCidr(cidr) === text ? undefined : 'must not have bits set beyond the prefix length';
}

export function checkServiceCidrUpdate({ spec }: ServiceCIDR, { spec: old }: ServiceCIDR): FieldError[] {
  const before = old.cidrs ?? [];
  const now = spec.cidrs ?? [];
  if (before.length !== now.length) return [invalid('spec.cidrs', now, IMMUTABLE)];
  return now.flatMap((text, i) => (text === before[i] ? [] : [invalid(`spec.cidrs[${i}]`, text, IMMUTABLE)]));
}

export function checkIpAddress({ metadata: { name }, spec }: IPAddress): FieldError[] {
  const errors: FieldError[] = [];
  const ip = parseIp(name);
  if (ip === undefined || printIp(ip) !== name) {
    errors.push(invalid('metadata.name', name, NOT_AN_ADDRESS));
  }
  const parent = spec?.parentRef;
  if (parent === undefined) return [...errors, required('spec.parentRef')];
  if (!parent.resource) errors.push(required('spec.parentRef.resource'));
  if (!parent.name) errors.push(required('spec.parentRef.name'));
  return errors;
}

export function checkIpAddressUpdate({ spec }: IPAddress, { spec: old }: IPAddress): FieldError[] {
  return isDeepStrictEqual(spec.parentRef, old.parentRef) ? [] : [invalid('spec.parentRef', spec.parentRef, IMMUTABLE)];
}
