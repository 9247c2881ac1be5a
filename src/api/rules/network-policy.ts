/** Validation across the fields of NetworkPolicy. Messages follow k8s.io/kubernetes/pkg/apis/networking/validation. */
import { type Cidr, contains, overlap, parseCidr } from '../../net/address.ts';
import type { FieldError } from '../errors.ts';
import { DNS_LABEL } from '../schema/fields.ts';
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../types/network-policy.ts';
import { forbidden, invalid, NOT_A_CIDR, notSupported, required } from './field-errors.ts';

const PORT_NAME = new RegExp(`^${DNS_LABEL}$`);
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'];

export function checkNetworkPolicy({ spec = {} }: NetworkPolicy): FieldError[] {
  const errors: FieldError[] = [];
  spec.ingress?.forEach(({ from, ports }, i) => {
    ports?.forEach((port, j) => void checkPort(port, `spec.ingress[${i}].ports[${j}]`, errors));
    from?.forEach((peer, j) => void checkPeer(peer, `spec.ingress[${i}].from[${j}]`, errors));
  });
  spec.egress?.forEach(({ to, ports }, i) => {
    ports?.forEach((port, j) => void checkPort(port, `spec.egress[${i}].ports[${j}]`, errors));
    to?.forEach((peer, j) => void checkPeer(peer, `spec.egress[${i}].to[${j}]`, errors));
  });
  const types = spec.policyTypes ?? [];
  if (types.length > 2) errors.push(invalid('spec.policyTypes', types, 'may not specify more than two policyTypes'));
  else
    types.forEach((type, i) => {
      if (type !== 'Ingress' && type !== 'Egress')
        errors.push(notSupported(`spec.policyTypes[${i}]`, type, ['Egress', 'Ingress']));
    });
  return errors;
}

function checkPort({ protocol, port, endPort }: NetworkPolicyPort, path: string, errors: FieldError[]): void {
  if (protocol !== undefined && !PROTOCOLS.includes(protocol))
    errors.push(notSupported(`${path}.protocol`, protocol, PROTOCOLS));
  if (typeof port === 'number') {
    if (port < 1 || port > 65535) errors.push(invalid(`${path}.port`, port, 'must be between 1 and 65535, inclusive'));
    if (endPort !== undefined && endPort < port)
      errors.push(invalid(`${path}.endPort`, endPort, 'must be greater than or equal to `port`'));
    if (endPort !== undefined && (endPort < 1 || endPort > 65535))
      errors.push(invalid(`${path}.endPort`, endPort, 'must be between 1 and 65535, inclusive'));
    return;
  }
  if (port !== undefined && (port.length > 15 || !PORT_NAME.test(port) || !/[a-z]/.test(port) || port.includes('--')))
    errors.push(
      invalid(`${path}.port`, port, 'must be the name of a port: at most 15 lower-case letters, digits and "-"'),
    );
  if (endPort === undefined) return;
  if (port === undefined) errors.push(required(`${path}.port`, 'must be specified when `endPort` is specified'));
  else errors.push(invalid(`${path}.endPort`, endPort, 'may not be specified when `port` is non-numeric'));
}

function checkPeer({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, path: string, errors: FieldError[]) {
  const selects = podSelector !== undefined || namespaceSelector !== undefined;
  if (!selects && ipBlock === undefined) errors.push(required(path, 'must specify a peer'));
  else if (selects && ipBlock !== undefined)
    errors.push(forbidden(path, 'may not specify both ipBlock and another peer'));
  if (ipBlock !== undefined) checkBlock(ipBlock, `${path}.ipBlock`, errors);
}

function checkBlock({ cidr, except = [] }: { cidr: string; except?: string[] }, path: string, errors: FieldError[]) {
  if (cidr === '') {
    errors.push(required(`${path}.cidr`, ''));
    return;
  }
  const block = parseCidr(cidr);
  if (block === undefined) errors.push(invalid(`${path}.cidr`, cidr, NOT_A_CIDR));
  except.forEach((text, i) => {
    const hole = parseCidr(text);
    if (hole === undefined) errors.push(invalid(`${path}.except[${i}]`, text, NOT_A_CIDR));
    else if (block !== undefined && !isStrictlyInside(hole, block))
      errors.push(invalid(`${path}.except[${i}]`, text, 'must be a strict subset of `cidr`'));
  });
}

const isStrictlyInside = (hole: Cidr, block: Cidr): boolean =>
  overlap(hole, block) && contains(block, { family: hole.family, value: hole.first }) && hole.prefix > block.prefix;
