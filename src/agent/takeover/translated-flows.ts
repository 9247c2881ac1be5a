/**
 * The connections that kube-proxy has begun, by the kernel's connection table: which of them move to our table, and which
 * the kernel goes on translating until they end.
 *
 * A connection moves if both of its directions pass the data plane: its endpoint is a pod of another node, and its source
 * was masqueraded with an address of this node's pod network, as the replies then arrive by the overlay. Every other one is
 * kept: to an endpoint in the network of a node, to a pod that the former network plugin has connected here, or of such a
 * pod. The kernel needs no rules for the connections that it has translated before (linux nf_nat_core.c
 * nf_nat_inet_fn), only to see their packets.
 */
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { type KernelFlow, KernelStatus, type KernelTuple } from '../../linux/kernel-conntrack.ts';
import { type Cidr, parseCidr } from '../../net/address.ts';

/** Protocols of services. */
const PROTOCOLS: readonly number[] = [PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_SCTP];

/** States of a TCP connection that is over (enum tcp_conntrack: TIME_WAIT, CLOSE). */
const OVER: readonly number[] = [7, 8];

/** What the connections of services are recognised by. */
export interface ServicePlaces {
  readonly serviceCIDR: string;
  readonly nodePortRange: readonly [first: number, last: number];
  /** Addresses of the node, on which NodePorts are open. */
  readonly localAddresses: readonly string[];
  /** External and load-balancer addresses of services. */
  readonly serviceAddresses: ReadonlySet<string>;
}

/** The networks that decide where a connection goes on. */
export interface PodPlaces {
  readonly podCIDR: string;
  /** Is this address a pod's of another node, reached by the overlay? */
  readonly isRemotePod: (address: number) => boolean;
}

/** A network as a predicate on 32-bit words. */
function within(text: string): (address: number) => boolean {
  const { first, last } = parseCidr(text) as Cidr;
  const [low, high] = [Number(first), Number(last)];
  return (address) => address >>> 0 >= low && address >>> 0 <= high;
}

/** Those that were opened to a service and translated, and are not over. */
export function serviceFlows(flows: readonly KernelFlow[], places: ServicePlaces): KernelFlow[] {
  const isClusterIP = within(places.serviceCIDR);
  const [first, last] = places.nodePortRange;
  const local = new Set([...places.localAddresses, '127.0.0.1']);
  return flows.filter(({ protocol, status, tcpState, original: { dst, dstPort } }) => {
    if ((status & (KernelStatus.DNAT | KernelStatus.DYING)) !== KernelStatus.DNAT) return false;
    if (!PROTOCOLS.includes(protocol) || OVER.includes(tcpState)) return false;
    if (isClusterIP(dst)) return true;
    const address = formatIpv4(dst);
    return places.serviceAddresses.has(address) || (dstPort >= first && dstPort <= last && local.has(address));
  });
}

/** May our table go on with it? */
export function movesTo({ podCIDR, isRemotePod }: PodPlaces): (flow: KernelFlow) => boolean {
  const isOfNode = within(podCIDR);
  return ({ status, reply }) => (status & KernelStatus.SNAT) !== 0 && isOfNode(reply.dst) && isRemotePod(reply.src);
}

/** A packet's fields as an element of the set of kept connections (underlay/kept-flows.ts). */
const elementOf = (protocol: number, { src, srcPort, dst, dstPort }: KernelTuple): string =>
  `${formatIpv4(src)} . ${protocol} . ${srcPort} . ${formatIpv4(dst)} . ${dstPort}`;

/** Both directions of each, as they are on the wire. */
export function keptElements(flows: readonly KernelFlow[]): string[] {
  return flows.flatMap(({ protocol, original, reply }) => [elementOf(protocol, original), elementOf(protocol, reply)]);
}
