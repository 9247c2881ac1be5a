/**
 * ECN at tunnel egress. A router between the nodes sets its congestion mark in the outer header, and the mark must
 * reach the pod. At ingress the outer header gets a copy of the inner ECN field (outer-ipv4.ts; RFC 6040 §4.1, normal
 * mode). The DSCP is not copied in either direction (RFC 2983, pipe model).
 *
 * Read before editing: RFC 6040 §4.2 and figure 4; linux include/net/inet_ecn.h INET_ECN_decapsulate.
 */
import type { Packet } from '../packet.ts';
import { Verdict } from '../verdicts.ts';
import { CONGESTION_EXPERIENCED, ECT_0, ECT_1, ecn, NOT_ECT, writeEcn } from '../wire/ip.ts';

/**
 * Combine the ECN field of the outer header with that of the parsed inner packet.
 * @returns GO_ON, or ECN_MARK_LOST if congestion was marked on a packet whose sender does not support ECN: it must be
 *   dropped instead (RFC 6040 §4.2)
 */
export function combineEcn(pkt: Packet, outer: number): Verdict {
  if (outer === NOT_ECT) return Verdict.GO_ON;
  const { view, l3 } = pkt;
  const inner = ecn(view, l3);
  if (outer === CONGESTION_EXPERIENCED) {
    if (inner === NOT_ECT) return Verdict.ECN_MARK_LOST;
    if (inner !== CONGESTION_EXPERIENCED) writeEcn(view, l3, CONGESTION_EXPERIENCED);
  } else if (outer === ECT_1 && inner === ECT_0) writeEcn(view, l3, ECT_1);
  return Verdict.GO_ON;
}
