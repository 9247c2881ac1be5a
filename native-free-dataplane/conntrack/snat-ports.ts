/**
 * Source ports for translated connections. There is no list of ports: a port is free if no connection has the reply
 * tuple it would produce, so a tuple in use is never allocated again and one port serves any number of destinations.
 *
 * Order of preference: the port of the source's last connection (mappings.ts), its own port, then the ports of the
 * range in an order derived from a keyed hash of the source. One socket therefore has one external port for all
 * destinations, unless it is in use at one of them (RFC 4787 REQ-1, RFC 5382 REQ-1), and the same one after the table
 * was flushed; it cannot be predicted without the node's secret (RFC 6056). UDP keeps its port's parity if possible
 * (RFC 4787 REQ-4).
 *
 * Eviction: after TRIES_BEFORE_EVICTION ports in use, the connection idle for longest among those seen that are closed
 * (tcp/reuse.ts) or not assured is removed and its port reused. Connections in use are never removed. If all are in
 * use, the search fails after MAX_TRIES look-ups.
 *
 * Read before editing: linux net/netfilter/nf_nat_core.c get_unique_tuple, nf_nat_l4proto_unique_tuple and
 * nf_nat_used_tuple_harder; RFC 4787 §4.2.
 */
import { isTunnelPort, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { findMapping } from './mappings.ts';
import { type Conntrack, hasPort, Rec, recordAt, StateWord, Status } from './record.ts';
import { tcpYieldsPort } from './tcp/reuse.ts';
import { tcpTimeoutClass } from './tcp/tracker.ts';
import { TimeoutClass } from './timeouts.ts';
import { tuplePortsAt } from './tuple.ts';
import { loadReplyKey, ownerOfPort, removeRecord } from './tuple-index.ts';

/** Maximum number of ports tried, and the number found in use before another connection is evicted from its port. */
const MAX_TRIES = 240;
const TRIES_BEFORE_EVICTION = 64;

/** Step sizes through a range: primes larger than any range, so that a round visits every port once. */
const STEPS: Int32Array = Int32Array.of(
  ...[66029, 70003, 75109, 79697, 84913, 88903, 93683, 97961, 102059, 106181, 112097, 119027, 123701, 128761, 133541],
  139907,
);

/** The parameters of findPort. One object per thread; set every field before each call. */
class PortRequest {
  /** First and last port of the range. */
  low = 0;
  high = 0;
  /** 1 if the translated address is one of the node's, so that ports in use by its own sockets must be avoided. */
  ofNode = 0;
  /** UDP: the node's own VXLAN port. Neither it nor another tunnel's port is ever allocated. -1 for other protocols. */
  vxlanPort = -1;
  /** hashSource of the connection (mappings.ts). */
  source = 0;
  /** TCP: sequence number of the first segment. */
  sequence = 0;
  /** 1 if other connections may be evicted. 0 for a TCP connection that does not begin with a SYN. */
  evicts = 0;
  nowMs = 0;
}
export const portRequest: PortRequest = new PortRequest();

/** Best candidate for eviction in the current search: record (-1 = none), ports word, idle time. */
const victim = { record: -1, ports: 0, idleMs: 0 };

/**
 * Find a source port for the connection whose record starts at word `at`, with the parameters in `portRequest`. Its
 * tuples are filled in but not inserted. The port is written to the reply tuple; a connection evicted from it is
 * removed.
 * @returns false if no port is available; the tuple is then unchanged
 */
export function findPort(table: Conntrack, at: number): boolean {
  const { words } = table;
  const { low, high } = portRequest;
  const protocol = (words[at + Rec.META] >>> 16) & 0xff;
  const reply = at + Rec.TUPLES + table.tupleWords;
  const ports = tuplePortsAt(table, reply);
  const before = words[ports];
  const upper = before & ~0xffff;
  const own = words[tuplePortsAt(table, at + Rec.TUPLES)] >>> 16;
  const base = loadReplyKey(table, reply, protocol);
  const known = findMapping(table, at, portRequest.source, portRequest.nowMs);
  for (let i = 0; i < 2; i++) {
    const port = i === 0 ? known : own;
    if (port < low || port > high) continue;
    words[ports] = upper | port;
    if (isFree(table, base, words[ports])) return true;
  }
  const sameParity = low + ((low ^ own) & 1);
  if (protocol === PROTOCOL_UDP && search(table, base, ports, sameParity, 2)) return true;
  if (search(table, base, ports, low, 1)) return true;
  words[ports] = before;
  return false;
}

/**
 * Try the ports first, first + stride, … of the requested range, in the order that the hash of the source determines.
 * @returns true if a port was found and stored in words[ports]
 */
function search(table: Conntrack, base: number, ports: number, first: number, stride: number): boolean {
  const { words } = table;
  const { high, source } = portRequest;
  const upper = words[ports] & ~0xffff;
  const count = first > high ? 0 : Math.floor((high - first) / stride) + 1;
  const tries = count < MAX_TRIES ? count : MAX_TRIES;
  const step = STEPS[Math.imul(source, 0x9e3779b1) >>> 28];
  let place = tries === 0 ? 0 : (source >>> 0) % count;
  victim.record = -1;
  for (let i = 0; i < tries; i++) {
    if (i === TRIES_BEFORE_EVICTION && victim.record >= 0) break;
    words[ports] = upper | (first + place * stride);
    if (isFree(table, base, words[ports])) return true;
    place = (place + step) % count;
  }
  if (victim.record < 0) return false;
  removeRecord(table, victim.record);
  words[ports] = victim.ports;
  return true;
}

/** May these ports be used, and is the tuple free? If a connection that may be evicted has it, it becomes a candidate. */
function isFree(table: Conntrack, base: number, ports: number): boolean {
  const port = ports & 0xffff;
  if (portRequest.ofNode !== 0 && hasPort(table.hostPorts, port)) return false;
  // What a pod sends to a tunnel's port of a node is dropped (stages/guard.ts): the answers would be lost.
  if (portRequest.vxlanPort >= 0 && (port === portRequest.vxlanPort || isTunnelPort(port))) return false;
  const owner = ownerOfPort(table, base, ports);
  if (owner < 0) return true;
  // The original tuple of a connection: its owner has not been translated to this port.
  if ((owner & 1) === 0) return false;
  const record = owner >> 1;
  const left = (table.words[recordAt(table, record) + Rec.EXPIRES] - (portRequest.nowMs | 0)) | 0;
  if (left <= 0) {
    removeRecord(table, record);
    return true;
  }
  if (portRequest.evicts === 0) return false;
  const lifetime = lifetimeIfYielding(table, record);
  if (lifetime < 0) return false;
  const idleMs = lifetime * 1000 - left;
  if (victim.record < 0 || idleMs > victim.idleMs) {
    victim.record = record;
    victim.ports = ports;
    victim.idleMs = idleMs;
  }
  return false;
}

/** Timeout, in seconds, of a connection that may be evicted from its port; -1 if it may not. */
function lifetimeIfYielding(table: Conntrack, record: number): number {
  const { words, settings } = table;
  const at = recordAt(table, record);
  const meta = words[at + Rec.META];
  // Untranslated: the port is the one that the connection's own source uses.
  if ((meta & Status.SNAT) === 0) return -1;
  const assured = (meta & Status.ASSURED) !== 0;
  const protocol = (meta >>> 16) & 0xff;
  if (protocol === PROTOCOL_TCP) {
    if (assured && !tcpYieldsPort(words, at + Rec.TCP, portRequest.sequence)) return -1;
    return settings[tcpTimeoutClass(words, at + Rec.TCP, meta & Status.SEEN_REPLY, settings)];
  }
  if (assured) return -1;
  if (protocol === PROTOCOL_UDP) return settings[TimeoutClass.UDP];
  return settings[protocol === PROTOCOL_ICMP ? TimeoutClass.ICMP : TimeoutClass.GENERIC];
}

/**
 * Store the connection that was refused because no port was found, for the agent's event. IPv4; the last one counts.
 * @param port protocol << 16 | destination port
 */
export function noteRefused({ state }: Conntrack, src: Int32Array, dst: Int32Array, port: number): void {
  state[StateWord.REFUSED_SOURCE] = src[3];
  state[StateWord.REFUSED_TARGET] = dst[3];
  state[StateWord.REFUSED_PORT] = port;
}
