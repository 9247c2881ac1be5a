/** The Ethernet header of outgoing frames: to a pod, or to the node's kernel through dp0. */
import type { Dataplane } from '../dataplane.ts';
import { HopWord, NodeWord } from '../node/config.ts';
import { HOST_HOP, HopKind, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';
import {
  ETHERNET_BYTES,
  isDestinationMac,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../wire/ethernet.ts';
import { etherTypeOf, ipVersion } from '../wire/ip.ts';

/** Ethernet source of frames handed to the node's kernel; it must differ from dp0's own address. */
const TO_HOST_MAC_HIGH = 0x0200;
const TO_HOST_MAC_LOW = 0x00000001;

/**
 * Ethernet header of a frame for the node's kernel; the frame starts with it.
 * @param l3 offset of the frame's (outermost) IP header
 */
export function writeHostEthernet(pkt: Packet, dp: Dataplane, l3: number): void {
  const { view } = pkt;
  const { config } = dp.node;
  const at = l3 - ETHERNET_BYTES;
  writeDestinationMac(view, at, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW]);
  writeSourceMac(view, at, TO_HOST_MAC_HIGH, TO_HOST_MAC_LOW);
  writeEthernetType(view, at, etherTypeOf(ipVersion(view, l3)));
  pkt.start = at;
}

/**
 * Ethernet header of a frame for a pod, in front of pkt.l3. A frame between pods of one segment keeps its source. The
 * header is always written, because when a packet is cut up, only the first piece still has its own in front.
 * @param from hop of the pod that sent it; HOST_HOP if the gateway is the source
 */
export function writePodEthernet(pkt: Packet, dp: Dataplane, hop: number, from: number): void {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = pkt.l3 - ETHERNET_BYTES;
  writeDestinationMac(view, at, hops[hopAt(hop) + HopWord.MAC_HIGH], hops[hopAt(hop) + HopWord.MAC_LOW]);
  if (from === HOST_HOP) writeSourceMac(view, at, config[NodeWord.GATEWAY_MAC_HIGH], config[NodeWord.GATEWAY_MAC_LOW]);
  else writeSourceMac(view, at, hops[hopAt(from) + HopWord.MAC_HIGH], hops[hopAt(from) + HopWord.MAC_LOW]);
  writeEthernetType(view, at, etherTypeOf(pkt.family));
  pkt.start = at;
}

/** Is `hop` a pod, and is the frame addressed to its MAC? Required of frames that pods send past the gateway. */
export function isSentToMacOf(pkt: Packet, dp: Dataplane, hop: number): boolean {
  const { view, start } = pkt;
  const { hops } = dp.node;
  const at = hopAt(hop);
  return (
    hops[at + HopWord.KIND] === HopKind.POD &&
    isDestinationMac(view, start, hops[at + HopWord.MAC_HIGH], hops[at + HopWord.MAC_LOW])
  );
}
