/**
 * Admission of Nodes: each gets a network for its pods, the lowest free /24 of the cluster's pod network, except that
 * the first /24 is used last. If the manifest names a network, it must not overlap with another.
 */
import { type FieldError, internalError, invalid } from '../../api/errors.ts';
import { resourceOfKind } from '../../api/resources.ts';
import type { Admission, WriteRequest } from '../../api/store/registry.ts';
import type { Store } from '../../api/store/store.ts';
import type { NodeObject, WrittenPart } from '../../api/types/objects.ts';
import { type Cidr, contains, overlap, parseCidr, parseIp, printCidr } from '../../net/address.ts';
import type { PodAddresses } from '../pods/addresses.ts';
import { splitKey } from '../work-queue.ts';
import { checkCreator } from './node-restriction.ts';

const NODE_PREFIX = 24;

export class NodeAdmission implements Admission<NodeObject> {
  private readonly store: Store;
  private readonly pods: PodAddresses;
  private readonly podRange: Cidr;

  constructor(store: Store, pods: PodAddresses, podRange: Cidr) {
    this.store = store;
    this.pods = pods;
    this.podRange = podRange;
  }

  prepare(node: NodeObject, old: NodeObject | undefined): NodeObject {
    const spec = { ...node.spec };
    const podCIDR = spec.podCIDR ?? spec.podCIDRs?.[0] ?? old?.spec?.podCIDR;
    if (podCIDR === undefined) return { ...node, spec };
    return { ...node, spec: { ...spec, podCIDR, podCIDRs: spec.podCIDRs ?? [podCIDR] } };
  }

  admit(
    node: NodeObject,
    old: NodeObject | undefined,
    _subresource: WrittenPart | undefined,
    request: WriteRequest,
  ): NodeObject {
    checkCreator(node, old, request);
    if (old?.spec?.podCIDR !== undefined) return node;
    const { name } = node.metadata;
    const asked = node.spec?.podCIDR;
    if (asked === undefined) {
      const podCIDR = printCidr(this.freeNetwork(name));
      return { ...node, spec: { ...node.spec, podCIDR, podCIDRs: [podCIDR] } };
    }
    const why = this.whyNot(name, parseCidr(asked)!);
    if (why === undefined) return node;
    const error: FieldError = { path: 'spec.podCIDR', message: `Invalid value: "${asked}": ${why}` };
    throw invalid(resourceOfKind('Node')!, name, [error]);
  }

  private whyNot(name: string, network: Cidr): string | undefined {
    const range = printCidr(this.podRange);
    const inside = contains(this.podRange, { family: network.family, value: network.first });
    if (!inside || network.prefix < this.podRange.prefix) return `is not within the cluster's pod network ${range}`;
    for (const other of this.networks(name)) {
      if (overlap(other.cidr, network)) return `overlaps with ${printCidr(other.cidr)} of node ${other.name}`;
    }
    return undefined;
  }

  private freeNetwork(name: string): Cidr {
    const others = [...this.networks(name)];
    const foreign: Cidr[] = [];
    // A node that comes back gets the network of its remaining pods; no other node may get it.
    for (const [text, podKey] of this.pods.addresses()) {
      const network = parseCidr(`${text}/${NODE_PREFIX}`)!;
      if (!contains(this.podRange, parseIp(text)!) || others.some(({ cidr }) => overlap(cidr, network))) continue;
      if (this.store.get('Pod', ...splitKey(podKey))?.spec.nodeName === name) return network;
      foreign.push(network);
    }
    const free = (network: Cidr) =>
      !others.some(({ cidr }) => overlap(cidr, network)) && !foreign.some((cidr) => overlap(cidr, network));
    const { first, last, family } = this.podRange;
    const step = 1n << BigInt((family === 4 ? 32 : 128) - NODE_PREFIX);
    const nth = (base: bigint): Cidr => ({ family, first: base, last: base + step - 1n, prefix: NODE_PREFIX });
    for (let base = first + step; base + step - 1n <= last; base += step) if (free(nth(base))) return nth(base);
    if (free(nth(first))) return nth(first);
    throw internalError(`no /${NODE_PREFIX} of ${printCidr(this.podRange)} is left for node ${name}`);
  }

  private *networks(except: string): Generator<{ name: string; cidr: Cidr }> {
    for (const { metadata, spec } of this.store.list('Node')) {
      const cidr = spec?.podCIDR === undefined ? undefined : parseCidr(spec.podCIDR);
      if (cidr !== undefined && metadata.name !== except) yield { name: metadata.name, cidr };
    }
  }
}
