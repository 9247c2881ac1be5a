/**
 * NetworkPolicies, namespaces and pods → the contents of the policy table (native-free-dataplane/policies/table.ts): a
 * pure function.
 */
import type { PairRow, PodRow, PolicyContents } from '../../../native-free-dataplane/policies/contents.ts';
import {
  ANYBODY,
  FIRST_IDENTITY,
  LAST_TRAFFIC_KEY,
  trafficKey,
} from '../../../native-free-dataplane/policies/table.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import type { Labels } from '../../api/selectors.ts';
import { type AddressBlocks, addressBlocks } from './address-blocks.ts';
import type { PolicyPort, PolicyRule, PolicyRules } from './parse-policy.ts';
import { type NamedPort, type PodClass, type PodClasses, type PolicyPod, podClasses } from './pod-classes.ts';

export interface AddressedPod extends PolicyPod {
  readonly ip: string;
}

export interface PolicyInput {
  readonly policies: readonly PolicyRules[];
  /** Labels of namespaces, by name. */
  readonly namespaces: ReadonlyMap<string, Labels>;
  readonly pods: readonly AddressedPod[];
  /** Port of the node's own name server; undefined where pods of the cluster answer. */
  readonly dnsPort: number | undefined;
}

/** What the node's name server stands for: the pods that a cluster has for names. */
const NAME_SERVER: PolicyPod = {
  namespace: 'kube-system',
  labels: { 'k8s-app': 'kube-dns' },
  ports: [
    { name: 'dns', protocol: PROTOCOL_UDP, port: 53 },
    { name: 'dns-tcp', protocol: PROTOCOL_TCP, port: 53 },
  ],
};

export function compilePolicies({ policies, namespaces, pods, dnsPort }: PolicyInput): PolicyContents {
  const classes = podClasses(namespaces);
  const classOf = new Map(pods.map((pod) => [pod, classes.of(pod)]));
  const nameServer = dnsPort === undefined ? undefined : classes.of(NAME_SERVER);
  const blocks = addressBlocks(policies.flatMap(peersOf).filter((peer) => peer.kind === 'block'));
  const identities = newIdentities();
  const intervals = blocks.intervals.map((interval) => ({
    first: interval.first,
    identity: identities.of(undefined, interval.blocks),
  }));
  const peers = pods.map((pod) => identities.of(classOf.get(pod), blocks.containing(pod.ip)));
  const dns = nameServer && dnsPort ? { port: dnsPort, identity: identities.of(nameServer, []) } : undefined;

  const groups = groupsOf(policies, classes);
  const rows = pods.map((pod, i): PodRow => {
    const podClass = classOf.get(pod)!;
    return {
      address: addressWords(pod.ip),
      identity: peers[i]!,
      ingress: groups.of(podClass, 'ingress'),
      egress: groups.of(podClass, 'egress'),
    };
  });
  const pairs = groups.all.flatMap((group) => pairsOf(group, { classes, blocks, identities }));
  return { pods: rows, intervals, pairs, dns };
}

const peersOf = ({ ingress = [], egress = [] }: PolicyRules) =>
  [...ingress, ...egress].flatMap(({ peers }) => peers ?? []);

/** Numbers for what no policy tells apart: a class of pods, and the ipBlocks around the address. */
interface Identities {
  of(podClass: PodClass | undefined, blocks: readonly number[]): number;
  readonly ofClass: ReadonlyMap<number, readonly number[]>;
  readonly ofBlock: ReadonlyMap<number, readonly number[]>;
  /** The class of each identity; none for addresses that are no pod's. */
  readonly classes: ReadonlyMap<number, PodClass>;
}

function newIdentities(): Identities {
  const byKey = new Map<string, number>();
  const ofClass = new Map<number, number[]>();
  const ofBlock = new Map<number, number[]>();
  const classes = new Map<number, PodClass>();
  const of: Identities['of'] = (podClass, blocks) => {
    const key = `${podClass?.number ?? ''}|${blocks.join()}`;
    const known = byKey.get(key);
    if (known !== undefined) return known;
    const identity = FIRST_IDENTITY + byKey.size;
    byKey.set(key, identity);
    for (const block of blocks) append(ofBlock, block, identity);
    if (podClass !== undefined) {
      append(ofClass, podClass.number, identity);
      classes.set(identity, podClass);
    }
    return identity;
  };
  return { of, ofClass, ofBlock, classes };
}

type Direction = 'ingress' | 'egress';

/** Pods that the same policies isolate in a direction. */
interface Group {
  readonly number: number;
  readonly direction: Direction;
  readonly policies: readonly PolicyRules[];
  /** Ports that rules of ingress name; empty if none of them does. */
  readonly ports: readonly NamedPort[];
}

interface Groups {
  readonly all: readonly Group[];
  /** Number of the class's group; 0 if no policy isolates it. */
  of(podClass: PodClass, direction: Direction): number;
}

function groupsOf(policies: readonly PolicyRules[], classes: PodClasses): Groups {
  const all: Group[] = [];
  const byKey = new Map<string, number>();
  const byClass = new Map<string, number>();
  const selecting = new Map<string, PolicyRules[]>();
  for (const policy of policies) {
    for (const number of classes.select(policy.namespace, undefined, policy.podSelector)) {
      if (policy.ingress) append(selecting, `ingress ${number}`, policy);
      if (policy.egress) append(selecting, `egress ${number}`, policy);
    }
  }
  const enter = (isolating: readonly PolicyRules[], { ports }: PodClass, direction: Direction): number => {
    if (isolating.length === 0) return 0;
    const named = direction === 'ingress' && isolating.some(({ ingress }) => ingress?.some(namesPorts)) ? ports : [];
    const key = JSON.stringify([direction, isolating.map(({ name }) => name), named]);
    const known = byKey.get(key);
    if (known !== undefined) return known;
    const number = all.length + 1;
    all.push({ number, direction, policies: isolating, ports: named });
    byKey.set(key, number);
    return number;
  };
  const of: Groups['of'] = (podClass, direction) => {
    const place = `${direction} ${podClass.number}`;
    let group = byClass.get(place);
    if (group === undefined) {
      group = enter(selecting.get(place) ?? [], podClass, direction);
      byClass.set(place, group);
    }
    return group;
  };
  return { all, of };
}

const namesPorts = ({ ports }: PolicyRule): boolean => ports?.some((port) => 'name' in port) ?? false;

interface Peers {
  readonly classes: PodClasses;
  readonly blocks: AddressBlocks;
  readonly identities: Identities;
}

/** First and last trafficKey. */
type KeyRange = readonly [first: number, last: number];

function pairsOf({ number, direction, policies, ports }: Group, peers: Peers): PairRow[] {
  const allowed = new Map<number, KeyRange[]>();
  const allow = (identity: number, ranges: readonly KeyRange[]) => {
    for (const range of ranges) append(allowed, identity, range);
  };
  for (const policy of policies) {
    for (const rule of policy[direction] ?? []) {
      const who = rule.peers === undefined ? undefined : identitiesOf(policy, rule, peers);
      if (direction === 'ingress' || !namesPorts(rule)) {
        const ranges = rangesOf(rule.ports, ports);
        for (const identity of who ?? [ANYBODY]) allow(identity, ranges);
        continue;
      }
      // A port by name is the receiver's, so it differs from peer to peer; addresses that are no pod's have none.
      if (who === undefined) allow(ANYBODY, rangesOf(rule.ports, []));
      for (const identity of who ?? peers.identities.classes.keys()) {
        allow(identity, rangesOf(rule.ports, peers.identities.classes.get(identity)?.ports ?? []));
      }
    }
  }
  return [...allowed].map(([identity, ranges]) => ({ group: number, identity, ranges: merge(ranges) }));
}

function identitiesOf(
  { namespace }: PolicyRules,
  { peers = [] }: PolicyRule,
  { classes, blocks, identities }: Peers,
): ReadonlySet<number> {
  const found = new Set<number>();
  const add = (list: readonly number[] = []) => {
    for (const identity of list) found.add(identity);
  };
  for (const peer of peers) {
    if (peer.kind === 'block') add(identities.ofBlock.get(blocks.numberOf(peer)));
    else
      for (const number of classes.select(namespace, peer.namespaces, peer.pods)) add(identities.ofClass.get(number));
  }
  return found;
}

/** @param named the ports of the receiving pod */
function rangesOf(ports: readonly PolicyPort[] | undefined, named: readonly NamedPort[]): KeyRange[] {
  if (ports === undefined) return [[0, LAST_TRAFFIC_KEY]];
  return ports.flatMap((port): KeyRange[] => {
    if (!('name' in port)) return [[trafficKey(port.protocol, port.first), trafficKey(port.protocol, port.last)]];
    return named
      .filter(({ name, protocol }) => name === port.name && protocol === port.protocol)
      .map((found): KeyRange => [trafficKey(found.protocol, found.port), trafficKey(found.protocol, found.port)]);
  });
}

/** Sorted and disjoint, flat. */
function merge(ranges: readonly KeyRange[]): number[] {
  const merged: number[] = [];
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const end = merged.length - 1;
    if (end > 0 && first <= merged[end]! + 1) merged[end] = Math.max(merged[end]!, last);
    else merged.push(first, last);
  }
  return merged;
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
