/**
 * Anti-spoofing and address checks: a pod may send only from its own MAC and address, martian addresses are dropped,
 * and a pod may not send tunnel traffic to a node. Packets are dropped, never corrected.
 *
 * Read before editing: RFC 1812 §5.3.7 and §5.3.8, RFC 2827, CVE-2020-8558 (loopback), CVE-2020-10136 and calico
 * felix #2063 (encapsulated traffic from a pod).
 */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, inNetwork, NodeWord } from '../node/config.ts';
import { HopKind, hopAt, NO_HOP } from '../node/hops.ts';
import { isOwnAddress } from '../node/host-routes.ts';
import { findRoute, isFirstOfRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, isTunnelPort, isTunnelProtocol, PROTOCOL_UDP } from '../protocols.ts';
import { Scope, sameAddress, scopeOf } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { isDestinationMac, isGroupDestination, isSourceMac } from '../wire/ethernet.ts';

/** Check a parsed IP packet. GO_ON with pkt.routed and pkt.forwarded set, or the reason to drop. */
export function guard(pkt: Packet, dp: Dataplane): Verdict {
  const { view, start } = pkt;
  const { config, hops } = dp.node;

  if (isDestinationMac(view, start, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW])) {
    pkt.routed = 1;
    pkt.forwarded = pkt.inPort === 0 && pkt.tunnelled === 0 ? 1 : 0;
  } else if (isGroupDestination(view, start)) {
    return Verdict.MULTICAST;
  } else if (pkt.inPort === 0 && pkt.tunnelled === 0) {
    // Sent to the node's own MAC and moved to dp0 by the shortcut (src/agent/underlay/shortcut.ts), so the kernel has
    // not checked it. The kernel drops packets from outside that have the node's own source (linux fib_frontend.c,
    // martian source).
    if (isNodeAddress(pkt.src, config)) return Verdict.SPOOFED_SOURCE_IP;
    pkt.routed = 1;
  }

  if (pkt.inPort !== 0) {
    // From a pod: the source MAC and address must be its own.
    const at = hopAt(pkt.inPort);
    if (hops[at + HopWord.KIND] !== HopKind.POD) return Verdict.FROM_UNKNOWN_PORT;
    if (!isSourceMac(view, start, hops[at + HopWord.MAC_HIGH], hops[at + HopWord.MAC_LOW])) {
      return Verdict.SPOOFED_SOURCE_MAC;
    }
    if (!sameAddress(pkt.src, hops, at + HopWord.ADDRESS)) {
      return scopeOf(pkt.src) === Scope.LOOPBACK ? Verdict.LOOPBACK_FROM_NETWORK : Verdict.SPOOFED_SOURCE_IP;
    }
  }
  return checkAddresses(pkt, dp);
}

/**
 * Does a pod send to the tunnel endpoint of a node? Called once the packet's flow has been looked up: a pod may reply to
 * a UDP client outside the cluster whose own port happens to be a tunnel's. Not to a node, because its address may have
 * been forged to make the pod's replies look like packets of the overlay.
 *
 * Packets from other nodes are checked as well: a node that is not running this data plane may not check its pods.
 */
export function sendsToTunnelEndpoint(pkt: Packet, dp: Dataplane): boolean {
  const { node } = dp;
  if (pkt.inPort === 0 && pkt.tunnelled === 0) return false;
  if (!reachesTunnelEndpoint(dp, pkt.protocol, pkt.dst, pkt.dstPort)) return false;
  const replies = pkt.flow >= 0 && pkt.direction === 1 && pkt.inPort !== 0 && pkt.protocol === PROTOCOL_UDP;
  return !replies || isOwnAddress(node, pkt.dst) || findRoute(node, pkt.dst, 0) !== NO_HOP;
}

/**
 * Does a pod act as a DHCP server? Its answers would reach the DHCP clients of nodes and of other machines
 * (CVE-2020-10749). Asked about first packets only: an answer to a client that asked the pod is a reply.
 */
export function answersDhcp(pkt: Packet): boolean {
  if (pkt.srcPort !== DHCP_SERVER_PORT || pkt.dstPort !== DHCP_CLIENT_PORT) return false;
  return pkt.protocol === PROTOCOL_UDP && (pkt.inPort !== 0 || pkt.tunnelled !== 0);
}

/**
 * Does a packet from the node's kernel have a pod's address as its source? Such a packet is spoofed: pods of this node
 * send on their own ports, and packets of other nodes' pods have been marked as tunnelled (decapsulate, markPeer). The
 * kernel cannot check this, because rp_filter must be off for packets that dp0 hands back to it (RFC 2827, RFC 1812
 * §5.3.8).
 */
export function claimsPodSource(pkt: Packet, dp: Dataplane): boolean {
  const { config } = dp.node;
  if (pkt.inPort !== 0 || pkt.tunnelled !== 0) return false;
  return (
    inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX], pkt.src) &&
    !sameAddress(pkt.src, config, NodeWord.GATEWAY_IP)
  );
}

/** Martian addresses (RFC 1812 §5.3.7); loopback only from the node itself (CVE-2020-8558). */
function checkAddresses(pkt: Packet, dp: Dataplane): Verdict {
  const from = scopeOf(pkt.src);
  const to = scopeOf(pkt.dst);
  if (from === Scope.UNICAST && to === Scope.UNICAST) return Verdict.GO_ON;
  if (from === Scope.LOOPBACK || to === Scope.LOOPBACK) {
    // From the node itself to loopback: a NodePort on 127.0.0.1. The kernel uses dp0's address as the source, and never
    // forwards a packet for 127/8 that it received from a network.
    const fromHost = pkt.inPort === 0 && pkt.tunnelled === 0;
    return fromHost && to === Scope.LOOPBACK && (from === Scope.LOOPBACK || isOwnAddress(dp.node, pkt.src))
      ? Verdict.GO_ON
      : Verdict.LOOPBACK_FROM_NETWORK;
  }
  if (from !== Scope.UNICAST) return Verdict.IPV4_MARTIAN_SOURCE;
  return to === Scope.MULTICAST || to === Scope.BROADCAST ? Verdict.MULTICAST : Verdict.IPV4_MARTIAN_DESTINATION;
}

function isNodeAddress(address: Int32Array, config: Int32Array): boolean {
  return sameAddress(address, config, NodeWord.GATEWAY_IP) || sameAddress(address, config, NodeWord.NODE_IP);
}

/**
 * Would a packet of this protocol to this address and port reach a node's tunnel endpoint? Checked for the destination
 * that a pod chose and again for a service's endpoint, so that no pod can inject packets into the overlay.
 * @param port UDP destination port; 0 for a later fragment
 */
export function reachesTunnelEndpoint(dp: Dataplane, protocol: number, address: Int32Array, port: number): boolean {
  const { config } = dp.node;
  if (protocol === PROTOCOL_UDP) {
    if (port !== config[NodeWord.VXLAN_PORT] && !isTunnelPort(port)) return false;
  } else if (!isTunnelProtocol(protocol)) return false;
  return !isPodAddress(dp, address);
}

/**
 * Does the address belong to a pod, as opposed to a node? Pods may use tunnels among themselves, as none of them is a
 * tunnel endpoint of the overlay. The gateways and network addresses of pod networks belong to nodes, and a node that
 * runs another CNI plugin decapsulates what is sent to any of its addresses.
 */
function isPodAddress(dp: Dataplane, address: Int32Array): boolean {
  const { config } = dp.node;
  const prefix = config[NodeWord.CLUSTER_CIDR_PREFIX];
  return (
    prefix > 0 &&
    inNetwork(config, NodeWord.CLUSTER_CIDR, prefix, address) &&
    !sameAddress(address, config, NodeWord.GATEWAY_IP) &&
    !isFirstOfRoute(dp.node, address)
  );
}
