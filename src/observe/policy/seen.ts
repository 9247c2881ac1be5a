/** Connections as policies judge them, from the nodes' tables of tracked connections. */
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { hasPorts } from '../../../native-free-dataplane/wire/ports.ts';

export interface SeenConnection {
  /** The real source, and the endpoint. */
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  /** Of the endpoint; 0 for protocols without ports. */
  readonly port: number;
  readonly throughService: boolean;
}

/**
 * Each once, whatever the source port and the number of nodes that track it.
 * @param judgedElsewhere addresses whose connections the node where they enter has judged: gateways of nodes
 */
export function seenConnections(
  flows: Iterable<FlowText>,
  judgedElsewhere: ReadonlySet<string> = new Set(),
): SeenConnection[] {
  const seen = new Map<string, SeenConnection>();
  for (const { protocol, original, reply, status } of flows) {
    if (judgedElsewhere.has(original.src)) continue;
    const port = hasPorts(protocol) ? reply.srcPort : 0;
    const throughService = status.includes('DST_NAT');
    const one = { from: original.src, to: reply.src, protocol, port, throughService };
    seen.set(`${one.from} ${one.to} ${protocol} ${port}`, one);
  }
  return [...seen.values()];
}
