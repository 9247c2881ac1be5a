/** A record of the connection table as text. */
import { type Conntrack, Rec, Status } from '../conntrack/record.ts';
import { TCP_STATE_NAMES } from '../conntrack/tcp/states.ts';
import { tcpState } from '../conntrack/tcp/tracker.ts';
import { PROTOCOL_TCP } from '../protocols.ts';
import { formatAddress, formatIpv4 } from '../wire/address.ts';
import type { FlowText, TupleText } from './flow.ts';

/** Names of the status bits, as conntrack-tools have them. */
const STATUS_NAMES: readonly (readonly [bit: number, name: string])[] = [
  [Status.SEEN_REPLY, 'SEEN_REPLY'],
  [Status.ASSURED, 'ASSURED'],
  [Status.CONFIRMED, 'CONFIRMED'],
  [Status.SNAT, 'SRC_NAT'],
  [Status.DNAT, 'DST_NAT'],
];

/** A record as text. @param words,doubles the table's memory, or a copy of the record; @param at its first word */
export function flowText(
  table: Conntrack,
  words: Int32Array,
  doubles: Float64Array,
  at: number,
  nowMs: number,
): FlowText {
  const meta = words[at + Rec.META]!;
  const leftMs = Math.max(0, (words[at + Rec.EXPIRES]! - nowMs) | 0);
  const protocol = (meta >>> 16) & 0xff;
  const tcp = protocol === PROTOCOL_TCP;
  return {
    protocol,
    state: tcp ? (TCP_STATE_NAMES[tcpState(words, at + Rec.TCP)] ?? '') : '',
    timeoutSeconds: Math.floor(leftMs / 1000),
    original: readTuple(table, words, at + Rec.TUPLES),
    reply: readTuple(table, words, at + Rec.TUPLES + table.tupleWords),
    packets: [words[at + Rec.PACKETS_ORIGINAL]! >>> 0, words[at + Rec.PACKETS_REPLY]! >>> 0],
    bytes: [doubles[(at + Rec.BYTES_ORIGINAL) >> 1]!, doubles[(at + Rec.BYTES_REPLY) >> 1]!],
    status: statusOf(meta),
  };
}

const STATUS_MASK: number = STATUS_NAMES.reduce((mask, [bit]) => mask | bit, 0);
/** Every combination that has been printed: events of connections are printed by the thousand. */
const statuses = new Map<number, readonly string[]>();

function statusOf(meta: number): readonly string[] {
  const bits = meta & STATUS_MASK;
  let names = statuses.get(bits);
  if (names === undefined) {
    names = STATUS_NAMES.filter(([bit]) => (bits & bit) !== 0).map(([, name]) => name);
    statuses.set(bits, names);
  }
  return names;
}

function readTuple({ addressWords }: Conntrack, words: Int32Array, at: number): TupleText {
  const address = (from: number) => (addressWords === 1 ? formatIpv4(words[from]!) : formatAddress(words, from));
  const ports = words[at + 2 * addressWords]!;
  return { src: address(at), srcPort: ports >>> 16, dst: address(at + addressWords), dstPort: ports & 0xffff };
}
