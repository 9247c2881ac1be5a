/**
 * May this packet have come from there? Bindings of address and MAC to the pod's port, addresses no packet on a
 * network may bear, tunnels that pods must not dig. Refuses; never repairs.
 *
 * Read before editing: RFC 1812 §5.3.7 and §5.3.8, RFC 2827, CVE-2020-8558 (loopback), CVE-2020-10136 and calico
 * felix #2063 (encapsulated traffic from a pod).
 */

import type { Dataplane } from '../dataplane.ts';
import { HopWord, inNetwork, NodeWord } from '../node/config.ts';
import { HopKind, hopAt } from '../node/hops.ts';
import { isOwnAddress } from '../node/host-routes.ts';
import { isFirstOfRoute } from '../node/routes.ts';
import type { Packet } from '../packet.ts';
import { PROTOCOL_GRE, PROTOCOL_IPIP, PROTOCOL_IPV6, PROTOCOL_UDP } from '../protocols.ts';
import { Scope, sameAddress, scopeOf } from '../shared/address.ts';
import { Verdict } from '../verdicts.ts';
import { isDestinationMac, isGroupDestination, isSourceMac } from '../wire/ethernet.ts';
import { isTunnelPort } from '../wire/vxlan.ts';

/** GO_ON when the packet may be believed; pkt.routed tells whether it was sent to the gateway. */
export function guard(pkt: Packet, dp: Dataplane): Verdict {
  const { view, start } = pkt;
  const { config, hops } = dp.node;

  if (isDestinationMac(view, start, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW])) {
    pkt.routed = 1;
    pkt.forwarded = pkt.inPort === 0 && pkt.tunnelled === 0 ? 1 : 0;
  } else if (isGroupDestination(view, start)) {
    return Verdict.MULTICAST;
  } else if (pkt.inPort === 0 && pkt.tunnelled === 0) {
    // Straight off the wire, where it was sent to the node's own MAC (src/agent/underlay/shortcut.ts). The kernel has not
    // checked its source, and would not have let anybody else speak as the node (linux fib_frontend.c, martian source).
    if (isNodeAddress(pkt.src, config)) return Verdict.SPOOFED_SOURCE_IP;
    pkt.routed = 1;
  }

  if (pkt.inPort !== 0) {
    // From a pod: its own MAC and address, nothing else.
    const at = hopAt(pkt.inPort);
    if (hops[at + HopWord.KIND] !== HopKind.POD) return Verdict.FROM_UNKNOWN_PORT;
    if (!isSourceMac(view, start, hops[at + HopWord.MAC_HIGH], hops[at + HopWord.MAC_LOW])) {
      return Verdict.SPOOFED_SOURCE_MAC;
    }
    if (!sameAddress(pkt.src, hops, at + HopWord.ADDRESS)) {
      return scopeOf(pkt.src) === Scope.LOOPBACK ? Verdict.LOOPBACK_FROM_NETWORK : Verdict.SPOOFED_SOURCE_IP;
    }
  }
  // Inside the overlay as well: whatever node it comes from may be less strict with its pods.
  const fromPod = pkt.inPort !== 0 || pkt.tunnelled !== 0;
  if (fromPod && entersTunnel(dp, pkt.protocol, pkt.dst, pkt.dstPort)) return Verdict.OVERLAY_FROM_POD;
  return checkAddresses(pkt, dp);
}

/**
 * Does a packet off the wire say that a pod sent it? Pods of this node speak at their own ports, those of others inside
 * the overlay, or as packets of their node (markPeer). The kernel's own check of sources has to be off for what dp0
 * hands back to it, so nobody else asks (RFC 2827, RFC 1812 §5.3.8).
 */
export function speaksAsPod(pkt: Packet, dp: Dataplane): boolean {
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
    // To loopback from an address of the node itself: its own NodePort traffic. The kernel picks dp0's address as the
    // source, and never forwards a packet for 127/8 that it received from elsewhere.
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
 * Does a packet of this protocol, sent to this address and port, end in a tunnel's end of a node? Asked of what pods send,
 * and again of the endpoint that a service has chosen: nothing that goes through here may speak to a node as a node does.
 * @param port of UDP; a fragment without ports has 0
 */
export function entersTunnel(dp: Dataplane, protocol: number, address: Int32Array, port: number): boolean {
  const { config } = dp.node;
  if (protocol === PROTOCOL_UDP) {
    if (port !== config[NodeWord.VXLAN_PORT] && !isTunnelPort(port)) return false;
  } else if (protocol !== PROTOCOL_IPIP && protocol !== PROTOCOL_IPV6 && protocol !== PROTOCOL_GRE) return false;
  return !isPodAddress(dp, address);
}

/**
 * Pods may tunnel among themselves: that is their own traffic (no pod is a tunnel end of the overlay). But some addresses
 * of the pod network are the nodes' own, and a node that is not ours decapsulates what is sent to any of its addresses.
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
