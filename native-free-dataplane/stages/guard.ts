/**
 * May this packet have come from there? Bindings of address and MAC to the pod's port, addresses no packet on a
 * network may bear, tunnels that pods must not dig. Refuses; never repairs.
 *
 * Read before editing: RFC 1812 §5.3.7 and §5.3.8, RFC 2827, CVE-2020-8558 (loopback), CVE-2020-10136 and calico
 * felix #2063 (encapsulated traffic from a pod).
 */

import type { Dataplane } from '../dataplane.ts';
import { inNetwork, NodeWord } from '../node/config.ts';
import { HopKind, HopWord, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { PROTOCOL_IPIP, PROTOCOL_UDP } from '../wire/ipv4.ts';

const PROTOCOL_IPV6_IN_IPV4 = 41;
const PROTOCOL_GRE = 47;
/** Ports of the UDP tunnels a pod might try besides our own: flannel VXLAN, GENEVE, GUE, VXLAN-GPE. */
const isTunnelPort = (port: number): boolean =>
  port === 4789 || port === 8472 || port === 6081 || port === 6080 || port === 4790;

/** GO_ON when the packet may be believed; pkt.routed tells whether it was sent to the gateway. */
export function guard(pkt: Packet, dp: Dataplane): Verdict {
  const { view, start } = pkt;
  const { config, hops } = dp.node;
  const source = pkt.src[3];
  const destination = pkt.dst[3];

  if (
    view.getUint32(start + 2) === config[NodeWord.GATEWAY_MAC_LOW] >>> 0 &&
    view.getUint16(start) === config[NodeWord.GATEWAY_MAC_HIGH]
  ) {
    pkt.routed = 1;
    pkt.forwarded = pkt.inPort === 0 && pkt.tunnelled === 0 ? 1 : 0;
  } else if ((view.getUint8(start) & 1) !== 0) {
    return Verdict.MULTICAST;
  } else if (pkt.inPort === 0 && pkt.tunnelled === 0) {
    // Straight off the wire, where it was sent to the node's own MAC (src/agent/underlay/shortcut.ts).
    pkt.routed = 1;
  }

  if (pkt.inPort !== 0) {
    // From a pod: its own MAC and address, nothing else.
    const at = hopAt(pkt.inPort);
    if (hops[at + HopWord.KIND] !== HopKind.POD) return Verdict.PORT_DOWN;
    if (
      view.getUint32(start + 8) !== hops[at + HopWord.MAC_LOW] >>> 0 ||
      view.getUint16(start + 6) !== hops[at + HopWord.MAC_HIGH]
    ) {
      return Verdict.SPOOFED_SOURCE_MAC;
    }
    if (source !== hops[at + HopWord.ADDRESS + 3]) {
      return source >>> 24 === 127 ? Verdict.LOOPBACK_FROM_NETWORK : Verdict.SPOOFED_SOURCE_IP;
    }
  }
  // Inside the overlay as well: whatever node it comes from may be less strict with its pods.
  if ((pkt.inPort !== 0 || pkt.tunnelled !== 0) && isTunnel(pkt, config)) return Verdict.OVERLAY_FROM_POD;
  return checkAddresses(source, destination, pkt.inPort === 0 && pkt.tunnelled === 0, config);
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
    pkt.src[3] !== config[NodeWord.GATEWAY_IP + 3]
  );
}

/** Martian addresses (RFC 1812 §5.3.7); loopback only from the node itself (CVE-2020-8558). */
function checkAddresses(source: number, destination: number, fromHost: boolean, config: Int32Array): Verdict {
  const from = source >>> 24;
  const to = destination >>> 24;
  if (from === 127 || to === 127) {
    // To loopback from an address of the node itself: its own NodePort traffic. The kernel picks dp0's address as the
    // source, and never forwards a packet for 127/8 that it received from elsewhere.
    const own = from === 127 || source === config[NodeWord.GATEWAY_IP + 3] || source === config[NodeWord.NODE_IP + 3];
    return fromHost && own && to === 127 ? Verdict.GO_ON : Verdict.LOOPBACK_FROM_NETWORK;
  }
  if (from === 0 || from >= 224) return Verdict.IPV4_MARTIAN_SOURCE;
  if (to >= 224 && to < 240) return Verdict.MULTICAST;
  if (to === 0 || to >= 240) return destination === -1 ? Verdict.MULTICAST : Verdict.IPV4_MARTIAN_DESTINATION;
  return Verdict.GO_ON;
}

/** Tunnel traffic from a pod to a node of the cluster, in the first fragment or a whole packet. */
function isTunnel(pkt: Packet, config: Int32Array): boolean {
  if (pkt.protocol === PROTOCOL_UDP) {
    return (
      pkt.fragmentOffset === 0 &&
      (pkt.dstPort === config[NodeWord.VXLAN_PORT] || isTunnelPort(pkt.dstPort)) &&
      !toPodNetwork(pkt, config)
    );
  }
  return (
    (pkt.protocol === PROTOCOL_IPIP || pkt.protocol === PROTOCOL_IPV6_IN_IPV4 || pkt.protocol === PROTOCOL_GRE) &&
    !toPodNetwork(pkt, config)
  );
}

/** Pods may tunnel among themselves: that is their own traffic (the overlay's port on a pod's address is nobody's VTEP). */
function toPodNetwork(pkt: Packet, config: Int32Array): boolean {
  const bits = config[NodeWord.CLUSTER_CIDR_PREFIX] - 96;
  const mask = bits >= 32 ? -1 : -1 << (32 - bits);
  return bits > 0 && ((pkt.dst[3] ^ config[NodeWord.CLUSTER_CIDR + 3]) & mask) === 0;
}
