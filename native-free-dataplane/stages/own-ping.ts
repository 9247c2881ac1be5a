/**
 * The identifiers of the node's own pings. These leave without passing through the pipeline, so a pod's ping to the same
 * host could be given the same identifier on the node's address, and one of the two would get the replies of both. Linux
 * tracks both (net/netfilter/nf_nat_core.c get_unique_tuple). Here nftables sends a copy of each echo request of the node to
 * dp0 (src/agent/underlay/firewall.ts), and a connection of the node's own holds the identifier.
 */
import { writeKey } from '../conntrack/tuple.ts';
import { findTuple, hashTuple, removeRecord, tupleKind } from '../conntrack/tuple-index.ts';
import type { Dataplane } from '../dataplane.ts';
import type { Packet } from '../packet.ts';

/**
 * If a pod's ping has the identifier of this echo request of the node, toward the same host, end its connection: the pod's
 * next request gets another one. The packet has no flow.
 */
export function releaseIdentifier(pkt: Packet, { conntrack }: Dataplane): void {
  const kind = tupleKind(pkt.protocol, 1);
  writeKey(conntrack, pkt.dst, pkt.src, (pkt.dstPort << 16) | pkt.srcPort, kind);
  const reference = findTuple(conntrack, hashTuple(conntrack, conntrack.key, 0, kind));
  if (reference >= 0) removeRecord(conntrack, reference >> 1);
}
