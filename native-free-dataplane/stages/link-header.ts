/** The Ethernet header of frames that leave: to a pod, or to the node's kernel by dp0. */
import type { Dataplane } from '../dataplane.ts';
import { NodeWord } from '../node/config.ts';
import { HOST_HOP, HopWord, hopAt } from '../node/hops.ts';
import type { Packet } from '../packet.ts';

/** Ethernet source of frames handed to the node's kernel: anything but its own address. */
const TO_HOST_MAC_HIGH = 0x0200;
const TO_HOST_MAC_LOW = 0x00000001;

/**
 * Ethernet header of a frame for the node's kernel. The frame starts with it.
 * @param l3 where the frame's (outermost) IP header is
 */
export function writeHostEthernet(pkt: Packet, dp: Dataplane, l3: number): void {
  const { view } = pkt;
  const { config } = dp.node;
  const at = l3 - 14;
  view.setUint16(at, config[NodeWord.GATEWAY_MAC_HIGH]);
  view.setInt32(at + 2, config[NodeWord.GATEWAY_MAC_LOW]);
  view.setUint16(at + 6, TO_HOST_MAC_HIGH);
  view.setUint32(at + 8, TO_HOST_MAC_LOW);
  view.setUint16(at + 12, 0x0800);
  pkt.start = at;
}

/**
 * Ethernet header of a frame for a pod, in front of pkt.l3. A frame between pods of one segment keeps its source. The
 * header is always written: of a packet cut into pieces, only the first has its own in front.
 * @param from hop of the pod that sent it; HOST_HOP when the gateway is the source
 */
export function writePodEthernet(pkt: Packet, dp: Dataplane, hop: number, from: number): void {
  const { view } = pkt;
  const { config, hops } = dp.node;
  const at = pkt.l3 - 14;
  view.setUint16(at, hops[hopAt(hop) + HopWord.MAC_HIGH]);
  view.setInt32(at + 2, hops[hopAt(hop) + HopWord.MAC_LOW]);
  view.setUint16(at + 6, from === HOST_HOP ? config[NodeWord.GATEWAY_MAC_HIGH] : hops[hopAt(from) + HopWord.MAC_HIGH]);
  view.setInt32(at + 8, from === HOST_HOP ? config[NodeWord.GATEWAY_MAC_LOW] : hops[hopAt(from) + HopWord.MAC_LOW]);
  view.setUint16(at + 12, 0x0800);
  pkt.start = at;
}
