/** Filters for connections, as in conntrack-tools (conntrack(8)). */
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import {
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../../../native-free-dataplane/protocols.ts';
import { contains, parseCidr, parseIp, type Range, rangeOf } from '../../net/address.ts';
import { usageError } from '../errors.ts';
import type { Args, Options } from './args.ts';
import { portNumber } from './values.ts';

export const FILTER_OPTIONS = {
  protocol: { short: 'p', value: 'PROTOCOL', help: 'tcp, udp, icmp, sctp or a number' },
  src: { short: 's', value: 'IP', help: 'source of the original direction; a network with /PREFIX' },
  dst: { short: 'd', value: 'IP', help: 'destination of the original direction' },
  sport: { value: 'PORT', help: 'source port of the original direction (also --orig-port-src)' },
  dport: { value: 'PORT', help: 'destination port of the original direction (also --orig-port-dst)' },
  'orig-port-src': { value: 'PORT', help: 'the same as --sport' },
  'orig-port-dst': { value: 'PORT', help: 'the same as --dport' },
  'reply-src': { short: 'r', value: 'IP', help: 'source of the reply direction' },
  'reply-dst': { short: 'q', value: 'IP', help: 'destination of the reply direction' },
  'reply-port-src': { value: 'PORT', help: 'source port of the reply direction' },
  'reply-port-dst': { value: 'PORT', help: 'destination port of the reply direction' },
  state: { value: 'STATE', help: 'TCP state, such as ESTABLISHED' },
  status: {
    short: 'u',
    value: 'STATUS',
    help: 'ASSURED, SEEN_REPLY, UNREPLIED, SRC_NAT or DST_NAT; several with commas',
  },
  'dst-nat': { short: 'g', help: 'only connections whose destination is translated' },
  'src-nat': { short: 'j', help: 'only connections whose source is translated' },
  'any-nat': { help: 'only connections with a translation' },
} satisfies Options;

export type FlowFilter = (flow: FlowText) => boolean;

/** Names of protocols, as in conntrack(8). */
const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: PROTOCOL_ICMP,
  tcp: PROTOCOL_TCP,
  udp: PROTOCOL_UDP,
  icmpv6: PROTOCOL_ICMPV6,
  sctp: PROTOCOL_SCTP,
};
const TCP_STATES = [
  ...['NONE', 'SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT'],
  ...['LAST_ACK', 'TIME_WAIT', 'CLOSE', 'SYN_SENT2'],
];
const STATUSES = ['ASSURED', 'SEEN_REPLY', 'CONFIRMED', 'UNREPLIED', 'SRC_NAT', 'DST_NAT'];

/** A test that combines all given filters (and). @throws CliError with status 2 */
export function readFilter(args: Args): FlowFilter {
  const tests: FlowFilter[] = [];
  const add = <T>(value: T | undefined, test: (value: T, flow: FlowText) => boolean) => {
    if (value !== undefined) tests.push((flow) => test(value, flow));
  };
  add(args.value('protocol', protocol), (number, flow) => flow.protocol === number);
  add(args.value('src', network), (cidr, flow) => within(cidr, flow.original.src));
  add(args.value('dst', network), (cidr, flow) => within(cidr, flow.original.dst));
  add(args.value('reply-src', network), (cidr, flow) => within(cidr, flow.reply.src));
  add(args.value('reply-dst', network), (cidr, flow) => within(cidr, flow.reply.dst));
  for (const name of ['sport', 'orig-port-src']) {
    add(args.value(name, portNumber), (port, flow) => flow.original.srcPort === port);
  }
  for (const name of ['dport', 'orig-port-dst']) {
    add(args.value(name, portNumber), (port, flow) => flow.original.dstPort === port);
  }
  add(args.value('reply-port-src', portNumber), (port, flow) => flow.reply.srcPort === port);
  add(args.value('reply-port-dst', portNumber), (port, flow) => flow.reply.dstPort === port);
  add(args.value('state', oneWord(TCP_STATES)), (state, flow) => flow.state === state);
  const wanted = args
    .text('status')
    ?.split(',')
    .map((word) => oneWord(STATUSES)(word, '--status'));
  add(wanted, (all, flow) => all.every((status) => hasStatus(flow, status)));
  const nat = (status: string) => (flow: FlowText) => flow.status.includes(status);
  if (args.flag('dst-nat')) tests.push(nat('DST_NAT'));
  if (args.flag('src-nat')) tests.push(nat('SRC_NAT'));
  if (args.flag('any-nat')) tests.push((flow) => nat('DST_NAT')(flow) || nat('SRC_NAT')(flow));
  return (flow) => tests.every((test) => test(flow));
}

const hasStatus = ({ status }: FlowText, wanted: string) =>
  wanted === 'UNREPLIED' ? !status.includes('SEEN_REPLY') : status.includes(wanted);

function protocol(text: string, option: string): number {
  const number = PROTOCOLS[text.toLowerCase()] ?? (/^\d{1,3}$/.test(text) ? Number(text) : 256);
  if (number <= 255) return number;
  throw usageError(`${option} ${text}: expected ${Object.keys(PROTOCOLS).join(', ')} or a number up to 255`);
}

function network(text: string, option: string): Range {
  const ip = parseIp(text);
  const range = ip === undefined ? parseCidr(text) : rangeOf(ip);
  if (range === undefined) throw usageError(`${option} ${text}: expected an address or a network such as 10.96.0.0/12`);
  return range;
}

const within = (range: Range, text: string): boolean => {
  const ip = parseIp(text);
  return ip !== undefined && contains(range, ip);
};

const oneWord = (choices: readonly string[]) => (text: string, option: string) => {
  const word = text.toUpperCase();
  if (choices.includes(word)) return word;
  throw usageError(`${option} ${text}: expected one of ${choices.join(', ')}`);
};
