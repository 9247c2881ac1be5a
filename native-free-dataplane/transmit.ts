/**
 * The last step of a packet: to a pod, over the overlay, or to the node's kernel, with what each needs in front. Also
 * where a packet becomes several (segments where the kernel cannot take a super-packet whole, IPv4 fragments).
 */

import type { Dataplane } from './dataplane.ts';
import { GSO_NONE, GSO_UDP_L4, type Packet } from './packet.ts';
import { encapsulate, writeHostEthernet, writePodEthernet } from './stages/encap.ts';
import { completeChecksum, cutFragments, cutSegments, type SegmentTaker } from './stages/segment.ts';
import { countOut } from './tables/counters.ts';
import { HopKind, HopWord, hopAt } from './tables/hops.ts';
import { NodeWord, Overlay } from './tables/node.ts';
import { Verdict } from './verdicts.ts';

/** Send the packet, whole or in pieces, by `hop`. The answer is the packet's verdict. */
export function transmit(pkt: Packet, dp: Dataplane, hop: number): Verdict {
  const { hops } = dp.node;
  const at = hopAt(hop);
  const kind = hops[at + HopWord.KIND];
  if (kind === HopKind.NONE) return Verdict.PORT_DOWN;
  const overlay = kind === HopKind.NODE && dp.node.config[NodeWord.OVERLAY] === Overlay.VXLAN;
  const done = kind === HopKind.POD ? Verdict.SENT : overlay ? Verdict.ENCAPSULATED : Verdict.TO_HOST;

  if (pkt.gsoType !== GSO_NONE) {
    if ((overlay && !dp.tunnelOffload) || (pkt.gsoType === GSO_UDP_L4 && !dp.udpSegmentation)) {
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
  const kind = dp.node.hops[hopAt(hop) + HopWord.KIND];
  if (kind === HopKind.POD) {
    // A frame between two pods of the segment keeps its source; whatever was routed comes from the gateway.
    const switched = pkt.routed === 0 && pkt.tunnelled === 0 && pkt.inPort !== 0;
    writePodEthernet(pkt, dp, hop, switched);
    pkt.outPort = hop;
  } else {
    if (kind === HopKind.NODE && dp.node.config[NodeWord.OVERLAY] === Overlay.VXLAN) {
      // Inside a tunnel nobody on the way may finish a pending checksum (calico #3145, flannel #2152): it is done here.
      // A super-packet's belongs to each of its segments, and is done by whoever cuts it.
      if (pkt.gsoType === GSO_NONE) completeChecksum(pkt);
      encapsulate(pkt, dp, hop);
    } else {
      pkt.start = pkt.l3 - 14;
      writeHostEthernet(pkt, dp, pkt.start);
    }
    pkt.outPort = 0;
  }
  countOut(dp.counters, pkt.outPort, pkt.end - pkt.start);
  dp.emitter.emit(pkt);
}

const pieces: SegmentTaker = { take: sendOne };
