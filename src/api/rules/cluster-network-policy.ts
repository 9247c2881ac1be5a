/**
 * Validation of ClusterNetworkPolicy beyond its types: what its definition states as counts, ranges and CEL rules
 * (sigs.k8s.io/network-policy-api, config/crd).
 */
import { parseCidr } from '../../net/address.ts';
import type { FieldError } from '../errors.ts';
import type {
  ClusterNetworkPolicy,
  ClusterPolicyPeer,
  ClusterPolicyProtocol,
  ClusterPolicyRule,
  DestinationPort,
} from '../types/cluster-network-policy.ts';
import { invalid, NOT_A_CIDR, required, tooMany } from './field-errors.ts';

const MAX_PRIORITY = 1000;
/** Rules of a direction, peers and protocols of a rule, networks and names of a peer. */
const MAX_ITEMS = 25;
const MAX_NAME = 100;
const LAST_PORT = 65535;
const LABEL = '[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?';
const DOMAIN_NAME = new RegExp(`^(\\*\\.)?(${LABEL}\\.)+${LABEL}\\.?$`);

export function checkClusterNetworkPolicy({ spec }: ClusterNetworkPolicy): FieldError[] {
  const errors: FieldError[] = [];
  const { priority, subject, ingress, egress } = spec;
  if (priority < 0 || priority > MAX_PRIORITY) {
    errors.push(invalid('spec.priority', priority, `must be between 0 and ${MAX_PRIORITY}, inclusive`));
  }
  checkOneOf(subject, 'spec.subject', ['namespaces', 'pods'], errors);
  checkRules(ingress, 'spec.ingress', 'from', errors);
  checkRules(egress, 'spec.egress', 'to', errors);
  return errors;
}

/** Where the policy has peers that match nothing in this cluster. */
export function unmatchedPeers({ spec }: ClusterNetworkPolicy): string[] {
  return (spec.egress ?? []).flatMap(({ to = [] }, i) =>
    to.flatMap(({ domainNames }, j) => (domainNames === undefined ? [] : [`spec.egress[${i}].to[${j}].domainNames`])),
  );
}

/** Exactly one of these fields must be set. */
function checkOneOf(value: object, path: string, names: readonly string[], errors: FieldError[]): void {
  const set = Object.keys(value).filter((name) => names.includes(name));
  if (set.length === 1) return;
  errors.push(invalid(path, value, `must have exactly one of ${names.join(', ')}`));
}

function checkCount(list: readonly unknown[] | undefined, path: string, least: 0 | 1, errors: FieldError[]): void {
  if (list === undefined) return;
  if (list.length < least) errors.push(required(path, 'must have at least one item'));
  if (list.length > MAX_ITEMS) errors.push(tooMany(path, list.length, MAX_ITEMS));
}

function checkRules(
  rules: readonly ClusterPolicyRule[] | undefined,
  path: string,
  side: 'from' | 'to',
  errors: FieldError[],
): void {
  checkCount(rules, path, 0, errors);
  rules?.forEach((rule, i) => {
    checkRule(rule, `${path}[${i}]`, side, errors);
  });
}

function checkRule(rule: ClusterPolicyRule, path: string, side: 'from' | 'to', errors: FieldError[]): void {
  const { name = '', action, protocols } = rule;
  const peers = rule[side] ?? [];
  if (name.length > MAX_NAME) {
    errors.push({ path: `${path}.name`, message: `Too long: may not be more than ${MAX_NAME} bytes` });
  }
  checkCount(peers, `${path}.${side}`, 1, errors);
  peers.forEach((peer, j) => {
    checkPeer(peer, `${path}.${side}[${j}]`, side, errors);
    if (peer.domainNames !== undefined && action !== 'Accept') {
      errors.push(
        invalid(`${path}.${side}[${j}].domainNames`, peer.domainNames, 'only rules that accept can name domains'),
      );
    }
  });
  checkCount(protocols, `${path}.protocols`, 1, errors);
  protocols?.forEach((protocol, j) => {
    checkProtocol(protocol, `${path}.protocols[${j}]`, errors);
  });
  const withoutPods = peers.some(({ networks, nodes, domainNames }) => networks ?? nodes ?? domainNames);
  if (withoutPods && protocols?.some(({ destinationNamedPort }) => destinationNamedPort !== undefined)) {
    const why =
      'networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames';
    errors.push(invalid(path, rule, why));
  }
}

function checkPeer(peer: ClusterPolicyPeer, path: string, side: 'from' | 'to', errors: FieldError[]): void {
  const kinds = ['namespaces', 'pods', ...(side === 'to' ? ['nodes', 'networks', 'domainNames'] : [])];
  checkOneOf(peer, path, kinds, errors);
  checkCount(peer.networks, `${path}.networks`, 1, errors);
  peer.networks?.forEach((text, i) => {
    if (parseCidr(text) === undefined) errors.push(invalid(`${path}.networks[${i}]`, text, NOT_A_CIDR));
  });
  checkCount(peer.domainNames, `${path}.domainNames`, 1, errors);
  peer.domainNames?.forEach((text, i) => {
    if (DOMAIN_NAME.test(text)) return;
    errors.push(invalid(`${path}.domainNames[${i}]`, text, 'must be a domain name, or one after "*."'));
  });
}

function checkProtocol(protocol: ClusterPolicyProtocol, path: string, errors: FieldError[]): void {
  checkOneOf(protocol, path, ['tcp', 'udp', 'sctp', 'destinationNamedPort'], errors);
  for (const name of ['tcp', 'udp', 'sctp'] as const) {
    const fields = protocol[name];
    if (fields !== undefined) checkDestination(fields, `${path}.${name}`, errors);
  }
}

function checkDestination({ destinationPort }: DestinationPort, path: string, errors: FieldError[]): void {
  if (destinationPort === undefined) {
    errors.push(required(`${path}.destinationPort`, 'must be set'));
    return;
  }
  const at = `${path}.destinationPort`;
  const { number, range } = destinationPort;
  checkOneOf(destinationPort, at, ['number', 'range'], errors);
  const checkPort = (port: number | undefined, where: string) => {
    if (port === undefined || (port >= 1 && port <= LAST_PORT)) return;
    errors.push(invalid(where, port, `must be between 1 and ${LAST_PORT}, inclusive`));
  };
  checkPort(number, `${at}.number`);
  checkPort(range?.start, `${at}.range.start`);
  checkPort(range?.end, `${at}.range.end`);
  if (range !== undefined && range.start >= range.end) {
    errors.push(invalid(`${at}.range`, range, 'Start port must be less than End port'));
  }
}
