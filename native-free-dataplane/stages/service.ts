/**
 * Is this connection for a service, and to which endpoint does it go? Asked of the first packet of a connection only.
 *
 * What kube-proxy's users rely on, decided here: which set of endpoints (all, or this node's) by where the packet
 * comes from and the service's policy; then affinity; then chance or Maglev; whether the source must be hidden behind
 * the node so that the answer comes back this way. And refusal instead of silence wherever somebody waits.
 *
 * Read before editing: docs/semantics.md; kubernetes pkg/proxy/topology.go (sets), pkg/proxy/nftables/proxier.go
 * (masquerade, short circuit of the Local policy), KEP-2086 (internal traffic policy).
 */
import { type Dataplane, nextRandom } from '../dataplane.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP } from '../frame/ipv4.ts';
import type { Packet } from '../packet.ts';
import { affinityEndpoint, rememberAffinity } from '../tables/affinity.ts';
import { maglevHash } from '../tables/maglev.ts';
import { NodeWord, inNetwork, isConfigAddress } from '../tables/node.ts';
import {
  Block,
  ENDPOINT_ID,
  ENDPOINT_PORT,
  ENDPOINT_WORDS,
  FrontendKind,
  RANGE_WORDS,
  SLOT_BLOCK,
  SLOT_KIND,
  ServiceFlag,
  findFrontend,
  nodePortAt,
  protocolClass,
} from '../tables/services.ts';
import { Verdict } from '../verdicts.ts';

/**
 * GO_ON with pkt.dnat set when the packet is for a service, GO_ON without when it is not; or how it ends here.
 */
export function chooseService(pkt: Packet, dp: Dataplane): Verdict {
  const { services, node } = dp;
  const { config } = node;
  if (protocolClass(pkt.protocol) < 0) return notBalanced(pkt, dp);
  const slot = findFrontend(services, pkt.dst, (pkt.protocol << 16) | pkt.dstPort);
  if (slot >= 0) return chooseFrom(pkt, dp, services.slots[slot + SLOT_BLOCK], services.slots[slot + SLOT_KIND]);

  if (pkt.dstPort >= config[NodeWord.NODE_PORT_LOW] && pkt.dstPort <= config[NodeWord.NODE_PORT_HIGH] && isNodePortAddress(pkt, dp)) {
    const block = services.nodePorts[nodePortAt(pkt.protocol, pkt.dstPort)];
    if (block !== 0) return chooseFrom(pkt, dp, block, FrontendKind.NODE_PORT);
    return Verdict.GO_ON;
  }
  return notBalanced(pkt, dp);
}

/** Not a port of any service: fine, unless the address is a service's. */
function notBalanced(pkt: Packet, dp: Dataplane): Verdict {
  const { config } = dp.node;
  const inRange = inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX], pkt.dst);
  if (findFrontend(dp.services, pkt.dst, 0) < 0) return inRange ? Verdict.NO_SUCH_SERVICE : Verdict.GO_ON;
  if (pkt.protocol === PROTOCOL_ICMP) return pkt.icmpType === 8 ? Verdict.PING_ANSWERED : Verdict.NO_SUCH_SERVICE;
  return refuse(pkt);
}

/** NodePorts are open on the node's own address, and on loopback for the node itself (kubernetes KEP-6032). */
function isNodePortAddress(pkt: Packet, dp: Dataplane): boolean {
  return isConfigAddress(dp.node.config, NodeWord.NODE_IP, pkt.dst) || (pkt.dst[2] === 0xffff && pkt.dst[3] >>> 24 === 127 && pkt.inPort === 0);
}

function refuse(pkt: Packet): Verdict {
  return pkt.protocol === PROTOCOL_TCP ? Verdict.REJECTED_TCP_RESET : Verdict.REJECTED_PORT_UNREACHABLE;
}

/** Where a packet comes from, as the traffic policies ask. */
const Origin = { POD: 0, NODE: 1, OUTSIDE: 2 } as const;

function originOf(pkt: Packet, dp: Dataplane): number {
  const { config } = dp.node;
  if (pkt.inPort !== 0) return Origin.POD;
  if (isConfigAddress(config, NodeWord.NODE_IP, pkt.src) || isConfigAddress(config, NodeWord.GATEWAY_IP, pkt.src)) return Origin.NODE;
  if (pkt.src[2] === 0xffff && pkt.src[3] >>> 24 === 127) return Origin.NODE;
  return inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], pkt.src) ? Origin.POD : Origin.OUTSIDE;
}

function chooseFrom(pkt: Packet, dp: Dataplane, block: number, kind: number): Verdict {
  const { pool } = dp.services;
  const { config } = dp.node;
  const flags = pool[block + Block.FLAGS];
  const origin = originOf(pkt, dp);
  const clusterCount = pool[block + Block.CLUSTER_COUNT];
  const localCount = pool[block + Block.LOCAL_COUNT];
  const external = kind !== FrontendKind.CLUSTER_IP;

  if (kind === FrontendKind.LOAD_BALANCER && pool[block + Block.RANGE_COUNT] > 0 && !inRanges(pkt, pool, block)) return Verdict.SOURCE_RANGE;

  // The Local policies: internal for cluster IPs; external only for those who come from outside, because a pod or the
  // node reaches a load balancer's endpoints the short way (proxier.go: "short-circuit").
  const onlyLocal = external ? (flags & ServiceFlag.EXTERNAL_LOCAL) !== 0 && origin === Origin.OUTSIDE : (flags & ServiceFlag.INTERNAL_LOCAL) !== 0;
  const count = onlyLocal ? localCount : clusterCount;
  if (count === 0) {
    if (onlyLocal && (flags & ServiceFlag.HAS_ENDPOINTS) !== 0 && config[NodeWord.LOCAL_POLICY_DROPS] !== 0) return Verdict.LOCAL_POLICY_DROP;
    return refuse(pkt);
  }
  const first = block + Block.ENDPOINTS + (onlyLocal ? clusterCount * ENDPOINT_WORDS : 0);
  const at = first + pickEndpoint(pkt, dp, block, first, count, onlyLocal) * ENDPOINT_WORDS;

  pkt.dnat = 1;
  for (let i = 0; i < 4; i++) pkt.newDst[i] = pool[at + i];
  pkt.newDstPort = pool[at + ENDPOINT_PORT];
  pkt.endpoint = pool[at + ENDPOINT_ID];
  Atomics.add(dp.services.connections, pkt.endpoint, 1);
  if (mustMasquerade(pkt, dp, external, (flags & ServiceFlag.EXTERNAL_LOCAL) !== 0, origin)) pkt.masquerade = 1;
  return Verdict.GO_ON;
}

/** Number of the endpoint within the set. */
function pickEndpoint(pkt: Packet, dp: Dataplane, block: number, first: number, count: number, onlyLocal: boolean): number {
  const { pool } = dp.services;
  const sticky = (pool[block + Block.FLAGS] & ServiceFlag.AFFINITY) !== 0;
  const servicePort = pool[block + Block.SERVICE_PORT];
  const seconds = pool[block + Block.AFFINITY_SECONDS];
  if (sticky) {
    const wanted = affinityEndpoint(dp.services, pkt.src, servicePort, dp.nowMs);
    for (let i = 0; wanted !== 0 && i < count; i++) {
      if (pool[first + i * ENDPOINT_WORDS + ENDPOINT_ID] === wanted) {
        rememberAffinity(dp.services, pkt.src, servicePort, wanted, dp.nowMs, seconds);
        return i;
      }
    }
  }
  const maglev = pool[block + Block.MAGLEV_SIZE];
  let chosen: number;
  if (maglev > 0 && !onlyLocal) {
    const behind =
      block + Block.ENDPOINTS + (pool[block + Block.CLUSTER_COUNT] + pool[block + Block.LOCAL_COUNT]) * ENDPOINT_WORDS + pool[block + Block.RANGE_COUNT] * RANGE_WORDS;
    chosen = pool[behind + (maglevHash(pkt.src, sticky ? 0 : pkt.srcPort, pkt.protocol) % maglev)];
  } else {
    // High bits scaled to the count: no modulo bias worth the name below 2^32 / count.
    chosen = Math.floor(((nextRandom(dp) >>> 0) * count) / 0x100000000);
  }
  if (sticky) rememberAffinity(dp.services, pkt.src, servicePort, pool[first + chosen * ENDPOINT_WORDS + ENDPOINT_ID], dp.nowMs, seconds);
  return chosen;
}

/**
 * Must the source be hidden behind this node? When the answer would otherwise not come back this way: the endpoint is
 * the client itself (hairpin); external addresses under the Cluster policy; the node itself, under the Local policy
 * too; and a cluster IP asked for from outside the pod network (S5 and S7 of docs/semantics.md).
 */
function mustMasquerade(pkt: Packet, dp: Dataplane, external: boolean, externalLocal: boolean, origin: number): boolean {
  const { config } = dp.node;
  if (pkt.newDst[3] === pkt.src[3] && pkt.newDst[2] === pkt.src[2] && pkt.newDst[1] === pkt.src[1] && pkt.newDst[0] === pkt.src[0]) return true;
  if (external) return !externalLocal || origin === Origin.NODE;
  if (origin === Origin.OUTSIDE) return true;
  return origin === Origin.NODE && !isConfigAddress(config, NodeWord.GATEWAY_IP, pkt.src);
}

function inRanges(pkt: Packet, pool: Int32Array, block: number): boolean {
  const count = pool[block + Block.RANGE_COUNT];
  const first = block + Block.ENDPOINTS + (pool[block + Block.CLUSTER_COUNT] + pool[block + Block.LOCAL_COUNT]) * ENDPOINT_WORDS;
  for (let i = 0; i < count; i++) {
    const at = first + i * RANGE_WORDS;
    if (inNetwork(pool, at, pool[at + 4], pkt.src)) return true;
  }
  return false;
}
