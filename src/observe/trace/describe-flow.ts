/** Describes what a stage did in the connection table: a record that was found, created or updated. */
import { recordAt } from '../../../native-free-dataplane/conntrack/record.ts';
import type { FlowText, TupleText } from '../../../native-free-dataplane/print/flow.ts';
import { flowText } from '../../../native-free-dataplane/print/record.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { Asked, Described } from './asked.ts';

const STAGES: Readonly<Record<string, string>> = { findFlow: 'flow', createFlow: 'connect', trackFlow: 'track' };

const ends = ({ src, srcPort, dst, dstPort }: TupleText): string => `${src}:${srcPort} > ${dst}:${dstPort}`;

/** How packets of the original direction are translated. */
function translation({ original, reply }: FlowText): string {
  const parts: string[] = [];
  const same = (a: string, aPort: number, b: string, bPort: number): boolean => a === b && aPort === bPort;
  if (!same(original.dst, original.dstPort, reply.src, reply.srcPort)) {
    parts.push(`destination → ${reply.src}:${reply.srcPort}`);
  }
  if (!same(original.src, original.srcPort, reply.dst, reply.dstPort)) {
    parts.push(`source → ${reply.dst}:${reply.dstPort}`);
  }
  return parts.length === 0 ? 'no translation' : parts.join(', ');
}

export function describeFlow({ call, pkt, dp }: Asked): Described {
  const stage = STAGES[call.name] ?? 'flow';
  const protocol = protocolName(pkt.protocol);
  if (pkt.flow < 0) {
    if (call.judges && call.result !== Verdict.GO_ON) return { stage, table: 'conntrack' };
    const ports = pkt.srcPort === 0 && pkt.dstPort === 0 ? '' : `:${pkt.srcPort}`;
    const text = [
      `no connection ${protocol} ${formatAddress(pkt.src)}${ports} > ${formatAddress(pkt.dst)}${ports && `:${pkt.dstPort}`}`,
    ];
    return { stage, table: 'conntrack', row: { text } };
  }
  const { conntrack } = dp;
  const flow = flowText(conntrack, conntrack.words, conntrack.doubles, recordAt(conntrack, pkt.flow), dp.nowMs);
  const direction = pkt.direction === 0 ? 'original' : 'reply';
  const state = flow.state === '' ? '' : ` ${flow.state}`;
  const life = `${flow.timeoutSeconds} s left`;
  const head = call.name === 'createFlow' ? 'new record' : 'record';
  const text = [`${head} ${pkt.flow}:${state} ${protocol}, ${direction} direction, ${life}`];
  if (call.name !== 'trackFlow') {
    text.push(`original ${ends(flow.original)}`, `reply    ${ends(flow.reply)}`, translation(flow));
  }
  const row = {
    text,
    record: pkt.flow,
    direction,
    state: flow.state,
    timeoutSeconds: flow.timeoutSeconds,
    original: ends(flow.original),
    reply: ends(flow.reply),
    status: flow.status,
  };
  return { stage, table: 'conntrack', row };
}
