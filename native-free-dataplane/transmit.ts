/**
 * The last step of a packet: to a pod, over the overlay, or to the node's kernel, with what each needs in front. Also
 * where a packet becomes several (segments where the kernel cannot take a super-packet whole, IPv4 fragments).
 */

import type { Dataplane } from './dataplane.ts';
import { NodeWord, Overlay } from './node/config.ts';
import { HOST_HOP, HopKind, HopWord, hopAt } from './node/hops.ts';
import { GSO_NONE, GSO_UDP_L4, type Packet } from './packet.ts';
import { countOut } from './shared/counters.ts';
import { encapsulate, encapsulateIpip, writeHostEthernet, writePodEthernet } from './stages/encap.ts';
import { completeChecksum, cutFragments, cutSegments, type SegmentTaker } from './stages/segment.ts';
import { Verdict } from './verdicts.ts';

/** What a packet sent to a hop of each kind counts as; one behind the last for host-gw. */
const ROUTED = 4;
const VERDICT_OF_KIND: readonly Verdict[] = [
  Verdict.PORT_DOWN,
  Verdict.TO_HOST,
  Verdict.SENT,
  Verdict.ENCAPSULATED,
  Verdict.ROUTED_TO_NODE,
];

/** Send the packet, whole or in pieces, by `hop`. The answer is the packet's verdict. */
export function transmit(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  const { hops } = dp.node;
  const at = hopAt(hop);
  const kind = hops[at + HopWord.KIND];
  if (kind === HopKind.NONE) return Verdict.PORT_DOWN;
  const mode = kind === HopKind.NODE ? dp.node.config[NodeWord.OVERLAY] : 0;
  const done = VERDICT_OF_KIND[mode === Overlay.HOST_GW ? ROUTED : kind];

  if (pkt.gsoType !== GSO_NONE) {
    // No offload header can speak of a super-packet inside IPIP.
    const whole = mode === Overlay.VXLAN ? dp.tunnelOffload : mode !== Overlay.IPIP;
    if (!whole || (pkt.gsoType === GSO_UDP_L4 && !dp.udpSegmentation)) {
      const cut = cutSegments(pkt, dp, hop, pieces);
      return cut === Verdict.GO_ON ? done : cut;
    }
  } else if (pkt.end - pkt.l3 > hops[at + HopWord.MTU] && hop !== 0) {
    const cut = cutFragments(pkt, dp, hop, hops[at + HopWord.MTU], pieces);
    return cut === Verdict.GO_ON ? done : cut;
  }
  sendOne(pkt, dp, hop);
  return done;
}

/** Put the link's headers in front of one packet that fits, and hand it to the device. */
function sendOne(pkt: Packet, dp: Dataplane, hop: number): void {
  const { config } = dp.node;
  const kind = dp.node.hops[hopAt(hop) + HopWord.KIND];
  const mode = kind === HopKind.NODE ? config[NodeWord.OVERLAY] : 0;
  pkt.outPort = 0;
  if (kind === HopKind.POD) {
    // A frame between two pods of the segment keeps its source; whatever was routed comes from the gateway.
    const switched = pkt.routed === 0 && pkt.tunnelled === 0 && pkt.inPort !== 0;
    writePodEthernet(pkt, dp, hop, switched ? pkt.inPort : HOST_HOP);
    pkt.outPort = hop;
  } else if (mode === Overlay.VXLAN || mode === Overlay.IPIP) {
    // Inside a tunnel nobody on the way may finish a pending checksum (calico #3145, flannel #2152): it is done here.
    // A super-packet's belongs to each of its segments, and is done by whoever cuts it.
    if (pkt.gsoType === GSO_NONE) completeChecksum(pkt);
    if (mode === Overlay.VXLAN) encapsulate(pkt, dp, hop);
    else {
      encapsulateIpip(pkt, dp, hop);
      pkt.outPort = config[NodeWord.TUNNEL_PORT];
    }
  } else {
    pkt.start = pkt.l3 - 14;
    writeHostEthernet(pkt, dp, pkt.start);
  }
  countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
  dp.emitter.emit(pkt);
}

const pieces: SegmentTaker = { take: sendOne };
