/** The packet that the page asks for, checked: it comes from a browser. */
import { PROTOCOL_ICMP } from '../../native-free-dataplane/protocols.ts';
import { parseIp } from '../net/address.ts';
import { FLAG_LETTERS, tcpFlagBits, tracedProtocol } from '../observe/trace/packet-names.ts';
import type { EndArg, PacketOptions } from '../observe/trace/resolver.ts';

/** The largest payload that fits an underlay with jumbo frames. */
const MAX_PAYLOAD = 9000;
const MAX_TTL = 64;
const MAX_PORT = 65_535;

/** What is wrong with a packet; the text is for people. */
class WalkRequestError extends Error {
  override readonly name = 'WalkRequestError';
}

/** @throws WalkRequestError */
export function readWalkRequest(value: unknown): PacketOptions {
  if (typeof value !== 'object' || value === null) throw new WalkRequestError('expected a packet');
  const { from, to, protocol, port, srcPort, flags, ttl, length } = value as Record<string, unknown>;
  const number = tracedProtocol(protocol);
  if (number === undefined) throw new WalkRequestError(`protocol ${text(protocol)}: expected tcp, udp or icmp`);
  const hasPort = number !== PROTOCOL_ICMP;
  const dstPort = whole('port', hasPort ? port : 0, hasPort ? 1 : 0, MAX_PORT);
  return {
    from: senderOf(from),
    to: { kind: 'ip', name: addressOf(to), port: hasPort ? String(dstPort) : undefined },
    namespace: 'default',
    protocol: number,
    srcPort: optional('source port', srcPort, 1, MAX_PORT),
    flags: flags === undefined ? undefined : flagsOf(flags),
    ttl: optional('TTL', ttl, 1, MAX_TTL),
    payloadBytes: optional('length', length, 0, MAX_PAYLOAD),
  };
}

function senderOf(value: unknown): EndArg {
  const node = typeof value === 'string' ? /^node\/([a-z0-9.-]{1,253})$/.exec(value)?.[1] : undefined;
  if (node !== undefined) return { kind: 'node', name: node, port: undefined };
  if (value === 'outside') return { kind: 'outside', name: '', port: undefined };
  return { kind: 'ip', name: addressOf(value), port: undefined };
}

function addressOf(value: unknown): string {
  if (typeof value === 'string' && parseIp(value)?.family === 4) return value;
  throw new WalkRequestError(`${text(value)}: expected an IPv4 address`);
}

function flagsOf(value: unknown): number {
  const bits = typeof value === 'string' ? tcpFlagBits(value) : undefined;
  if (bits !== undefined) return bits;
  throw new WalkRequestError(`TCP flags ${text(value)}: expected letters of ${FLAG_LETTERS}`);
}

const optional = (what: string, value: unknown, least: number, most: number): number | undefined =>
  value === undefined ? undefined : whole(what, value, least, most);

function whole(what: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new WalkRequestError(`${what} ${text(value)}: expected ${least} to ${most}`);
}

/** Bounded: it is printed. */
const text = (value: unknown): string => String(value).slice(0, 64);
