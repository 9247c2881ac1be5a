/** A packet to trace as people write it: protocols by name, TCP flags by the letters of tcpdump. */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../../../native-free-dataplane/protocols.ts';
import { TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG } from '../../../native-free-dataplane/wire/tcp.ts';

const PROTOCOLS: ReadonlyMap<unknown, number> = new Map([
  ['tcp', PROTOCOL_TCP],
  ['udp', PROTOCOL_UDP],
  ['icmp', PROTOCOL_ICMP],
]);
const FLAGS: ReadonlyMap<string, number> = new Map([
  ['S', TCP_SYN],
  ['A', TCP_ACK],
  ['F', TCP_FIN],
  ['R', TCP_RST],
  ['P', TCP_PSH],
  ['U', TCP_URG],
]);
export const FLAG_LETTERS: string = [...FLAGS.keys()].join('');

/** The number of tcp, udp or icmp; undefined for anything else. */
export const tracedProtocol = (name: unknown): number | undefined => PROTOCOLS.get(name);

/** Bits of the TCP header, of letters such as `SA`; undefined if one is not among FLAG_LETTERS. */
export function tcpFlagBits(letters: string): number | undefined {
  let bits = 0;
  for (const letter of letters) {
    const bit = FLAGS.get(letter);
    if (bit === undefined) return undefined;
    bits |= bit;
  }
  return bits;
}
