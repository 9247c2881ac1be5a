/**
 * Service load balancing: find the service of a connection's first packet and choose an endpoint.
 *
 * The decisions are kube-proxy's. The set of endpoints is all of them or this node's, depending on the traffic policy
 * and on where the packet comes from. Within the set, client affinity decides, else Maglev or chance. The source is
 * masqueraded if the reply would not come back through this node otherwise. A connection that cannot be served is
 * refused (TCP reset, ICMP error) instead of dropped, so that clients need not wait for a timeout.
 * A pod's hostPort is a service with one endpoint on addresses of its node, used if no Service has the port.
 *
 * Read before editing: docs/semantics.md; kubernetes pkg/proxy/topology.go (sets), pkg/proxy/nftables/proxier.go
 * (masquerade, short circuit of the Local policy), KEP-2086 (internal traffic policy); containernetworking plugins
 * plugins/meta/portmap (hostPort: what is masqueraded), CVE-2019-9946 (Services before host ports).
 */
import { hasPort } from '../conntrack/record.ts';
import { type Dataplane, nextRandom } from '../dataplane.ts';
import { inNetwork, NodeWord } from '../node/config.ts';
import { hasNodePorts, isOwnAddress } from '../node/host-routes.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../protocols.ts';
import { affinityEndpoint, affinityHash, rememberAffinity } from '../services/affinity.ts';
import {
  Block,
  ENDPOINT_ID,
  ENDPOINT_PORT,
  ENDPOINT_WORDS,
  maglevAt,
  RANGE_WORDS,
  rangesAt,
  ServiceFlag,
} from '../services/blocks.ts';
import { maglevHash } from '../services/maglev.ts';
import {
  ANY_ADDRESS,
  blockOf,
  Frontend,
  FrontendKind,
  findFrontend,
  HAS_HOST_PORT,
  hostPortKey,
  nodePortAt,
  nodePortService,
  protocolClass,
  serviceKey,
  targetKind,
  targetService,
} from '../services/table.ts';
import { copyAddress, Scope, sameAddress, scopeOf } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { ICMP_ECHO_REQUEST } from '../wire/icmp.ts';
import { TCP_ACK, TCP_SYN } from '../wire/tcp.ts';

/**
 * Choose the endpoint of a first packet.
 * @returns GO_ON with pkt.dnat, newDst, newDstPort, endpoint and masquerade set; GO_ON with pkt.dnat 0 if the packet is
 *   not for a service; or the verdict that ends it
 */
export function chooseService(pkt: Packet, dp: Dataplane): Verdict {
  const { services } = dp;
  if (protocolClass(pkt.protocol) < 0) return notBalanced(pkt, dp);
  const frontend = findFrontend(services, pkt.dst, serviceKey(pkt.protocol, pkt.dstPort));
  if (frontend >= 0) {
    const target = Atomics.load(services.frontends, frontend + Frontend.TARGET);
    const block = blockOf(services, targetService(target));
    if (block !== 0 && isForHostSocket(pkt, dp) && isOwnAddress(dp.node, pkt.dst)) return Verdict.GO_ON;
    if (block !== 0) return chooseFrom(pkt, dp, block, targetKind(target));
  }
  const word = Atomics.load(services.nodePorts, nodePortAt(pkt.protocol, pkt.dstPort));
  if (word !== 0 && isNodePortAddress(pkt, dp)) {
    const nodePort = isInNodePortRange(pkt, dp) ? blockOf(services, nodePortService(word)) : 0;
    const hostPort = nodePort === 0 && (word & HAS_HOST_PORT) !== 0 ? hostPortBlock(pkt, dp) : 0;
    if (nodePort + hostPort !== 0 && isForHostSocket(pkt, dp)) return Verdict.GO_ON;
    if (nodePort !== 0) return chooseFrom(pkt, dp, nodePort, FrontendKind.NODE_PORT);
    if (hostPort !== 0) return chooseFrom(pkt, dp, hostPort, FrontendKind.HOST_PORT);
  }
  // The address is the node's own, so an unused NodePort is refused by the node's kernel.
  return notBalanced(pkt, dp);
}

function isInNodePortRange({ dstPort }: Packet, { node }: Dataplane): boolean {
  return dstPort >= node.config[NodeWord.NODE_PORT_LOW] && dstPort <= node.config[NodeWord.NODE_PORT_HIGH];
}

/** Block of the hostPort at the packet's destination, or at all addresses of the node; 0 if no pod has it. */
function hostPortBlock({ dst, dstPort, protocol }: Packet, { services }: Dataplane): number {
  const key = hostPortKey(protocol, dstPort);
  let frontend = findFrontend(services, dst, key);
  if (frontend < 0) frontend = findFrontend(services, ANY_ADDRESS, key);
  if (frontend < 0) return 0;
  return blockOf(services, targetService(Atomics.load(services.frontends, frontend + Frontend.TARGET)));
}

/** Not a service port. GO_ON, unless the address belongs to a service: then the packet is answered or refused. */
function notBalanced(pkt: Packet, dp: Dataplane): Verdict {
  const { config } = dp.node;
  if (findFrontend(dp.services, pkt.dst, 0) < 0) {
    const inRange = inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX], pkt.dst);
    return inRange ? Verdict.NO_SUCH_SERVICE : Verdict.GO_ON;
  }
  // An external IP may be an address of this node; its other ports belong to the node's own sockets.
  if (isOwnAddress(dp.node, pkt.dst)) return Verdict.GO_ON;
  if (pkt.protocol === PROTOCOL_ICMP) {
    return pkt.icmpType === ICMP_ECHO_REQUEST ? Verdict.PING_ANSWERED : Verdict.ICMP_TO_SERVICE;
  }
  return refuse(pkt);
}

/**
 * Does a segment of no known flow belong to a connection of the node itself, whose port has become a NodePort or hostPort
 * since (kubernetes #111682)? DNAT in Linux applies to new connections only. A SYN-ACK answers a SYN of the node. Other
 * segments belong to the node's socket, if one has the port (src/agent/underlay/ports-in-use.ts). A SYN is for the service.
 */
function isForHostSocket(pkt: Packet, dp: Dataplane): boolean {
  if (pkt.protocol !== PROTOCOL_TCP || pkt.inPort !== 0 || pkt.tunnelled !== 0) return false;
  const synAck = pkt.tcpFlags & (TCP_SYN | TCP_ACK);
  if (synAck === TCP_SYN) return false;
  return synAck === (TCP_SYN | TCP_ACK) || hasPort(dp.conntrack.socketPorts, pkt.dstPort);
}

/**
 * NodePorts and host ports are open on every address of the node's devices but the pods' gateway (kube-proxy's default,
 * nodePortAddresses empty, in iptables mode), and on loopback for the node itself (kubernetes KEP-6032).
 */
function isNodePortAddress(pkt: Packet, dp: Dataplane): boolean {
  const { node } = dp;
  if (scopeOf(pkt.dst) === Scope.LOOPBACK)
    return pkt.inPort === 0 && pkt.tunnelled === 0 && isOwnAddress(node, pkt.src);
  return hasNodePorts(node, pkt.dst);
}

/** As a closed port answers: a reset for TCP, ICMP port unreachable for everything else. */
function refuse(pkt: Packet): Verdict {
  return pkt.protocol === PROTOCOL_TCP ? Verdict.REJECTED_TCP_RESET : Verdict.REJECTED_PORT_UNREACHABLE;
}

/**
 * Where a packet comes from, for the traffic policies. Under externalTrafficPolicy Local a pod of another node is
 * treated like a client outside the cluster: it gets this node's endpoints only (k8s e2e "should fallback to local
 * terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local"). Its packets have
 * pkt.tunnelled set in every overlay mode, and any other packet from dp0 with a pod's source has been dropped
 * (stages/guard.ts claimsPodSource).
 */
const Origin = { POD: 0, NODE: 1, OTHER_NODE: 2, OUTSIDE: 3 } as const;

function originOf(pkt: Packet, dp: Dataplane): number {
  if (pkt.inPort !== 0) return Origin.POD;
  if (pkt.tunnelled !== 0) return Origin.OTHER_NODE;
  return isOwnAddress(dp.node, pkt.src) ? Origin.NODE : Origin.OUTSIDE;
}

/**
 * Choose an endpoint of one service port.
 * @param block word offset of its block in the pool (services/blocks.ts)
 * @param kind FrontendKind of the address and port that the client used
 */
function chooseFrom(pkt: Packet, dp: Dataplane, block: number, kind: number): Verdict {
  const { services, node } = dp;
  const { pool } = services;
  const flags = pool[block + Block.FLAGS];
  const origin = originOf(pkt, dp);
  const external = kind !== FrontendKind.CLUSTER_IP;

  if (kind === FrontendKind.LOAD_BALANCER && (flags & ServiceFlag.RANGES) !== 0 && !inRanges(pkt, pool, block)) {
    return Verdict.SOURCE_RANGE;
  }

  // internalTrafficPolicy Local applies to every client of a ClusterIP. externalTrafficPolicy Local applies only to
  // clients on other nodes and outside: this node and its pods may use every endpoint (proxier.go: "short-circuit").
  const externalLocal = (flags & ServiceFlag.EXTERNAL_LOCAL) !== 0;
  const onlyLocal = external
    ? externalLocal && origin >= Origin.OTHER_NODE
    : (flags & ServiceFlag.INTERNAL_LOCAL) !== 0;
  const clusterCount = pool[block + Block.CLUSTER_COUNT];
  const count = onlyLocal ? pool[block + Block.LOCAL_COUNT] : clusterCount;
  if (count === 0) {
    const elsewhere = onlyLocal && (flags & ServiceFlag.HAS_ENDPOINTS) !== 0;
    return elsewhere && node.config[NodeWord.LOCAL_POLICY_DROPS] !== 0 ? Verdict.LOCAL_POLICY_DROP : refuse(pkt);
  }
  const first = block + Block.ENDPOINTS + (onlyLocal ? clusterCount * ENDPOINT_WORDS : 0);
  const at = first + pickEndpoint(pkt, dp, block, first, count, onlyLocal) * ENDPOINT_WORDS;

  pkt.dnat = 1;
  copyAddress(pool, at, pkt.newDst);
  pkt.newDstPort = pool[at + ENDPOINT_PORT];
  pkt.endpoint = pool[at + ENDPOINT_ID];
  if (mustMasquerade(pkt, dp, kind, externalLocal, origin)) pkt.masquerade = 1;
  return Verdict.GO_ON;
}

/** Choose one of the `count` endpoints that start at `first`; returns its index. Sets the affinity to remember. */
function pickEndpoint(
  pkt: Packet,
  dp: Dataplane,
  block: number,
  first: number,
  count: number,
  onlyLocal: boolean,
): number {
  const { services, nowMs } = dp;
  const { pool } = services;
  const maglev = onlyLocal ? 0 : pool[block + Block.MAGLEV_SIZE];
  if ((pool[block + Block.FLAGS] & ServiceFlag.AFFINITY) === 0) {
    if (maglev > 0) return maglevChoice(pkt, dp, block, maglev, pkt.srcPort);
    // Scale 32 random bits to the count; the bias is below count / 2^32.
    return Math.floor(((nextRandom(dp) >>> 0) * count) / 0x100000000);
  }
  const servicePort = pool[block + Block.SERVICE_PORT];
  const seconds = pool[block + Block.AFFINITY_SECONDS];
  const wanted = affinityEndpoint(services, pkt.src, servicePort, nowMs);
  let chosen = -1;
  for (let i = 0; wanted !== 0 && i < count && chosen < 0; i++) {
    if (pool[first + i * ENDPOINT_WORDS + ENDPOINT_ID] === wanted) chosen = i;
  }
  if (chosen < 0) {
    // Hash the client's address without its port, so that all its connections get the same endpoint.
    if (maglev > 0) chosen = maglevChoice(pkt, dp, block, maglev, 0);
    else chosen = affinityHash(pkt.src, servicePort, nowMs, seconds) % count;
  }
  pkt.affinityPort = servicePort;
  pkt.affinitySeconds = seconds;
  return chosen;
}

/** Count a new connection for its endpoint, and remember the endpoint for the client. Called once the flow exists. */
export function noteChoice(pkt: Packet, dp: Dataplane): void {
  if (pkt.endpoint === 0 || pkt.joined !== 0) return;
  const { services, nowMs } = dp;
  Atomics.add(services.connections, pkt.endpoint, 1);
  if (pkt.affinitySeconds === 0) return;
  rememberAffinity(services, pkt.src, pkt.affinityPort, pkt.endpoint, nowMs, pkt.affinitySeconds);
}

function maglevChoice(pkt: Packet, dp: Dataplane, block: number, size: number, srcPort: number): number {
  const { pool } = dp.services;
  const hash = maglevHash(pkt.src, srcPort, pkt.protocol, dp.node.config[NodeWord.MAGLEV_SEED]);
  return pool[maglevAt(pool, block) + (hash % size)];
}

/**
 * Must the source be masqueraded so that the reply comes back through this node? Yes if the endpoint is the client
 * itself (hairpin); for external addresses under the Cluster policy, and from the node itself under the Local policy
 * too; and for a ClusterIP used by the node itself or from outside the pod network (S5 and S7 of docs/semantics.md).
 * For a hostPort only if the source is a loopback address, to which the pod could not reply.
 */
function mustMasquerade(pkt: Packet, dp: Dataplane, kind: number, externalLocal: boolean, origin: number): boolean {
  const { newDst, src } = pkt;
  if (sameAddress(newDst, src, 0)) return true;
  if (kind === FrontendKind.HOST_PORT) return scopeOf(src) === Scope.LOOPBACK;
  if (kind !== FrontendKind.CLUSTER_IP) return !externalLocal || origin === Origin.NODE;
  if (origin === Origin.OUTSIDE) return true;
  return origin === Origin.NODE && !sameAddress(src, dp.node.config, NodeWord.GATEWAY_IP);
}

/** Is the client inside the service's loadBalancerSourceRanges? */
function inRanges(pkt: Packet, pool: Int32Array, block: number): boolean {
  const count = pool[block + Block.RANGE_COUNT];
  for (let i = 0, at = rangesAt(pool, block); i < count; i++, at += RANGE_WORDS) {
    if (inNetwork(pool, at, pool[at + 4], pkt.src)) return true;
  }
  return false;
}
