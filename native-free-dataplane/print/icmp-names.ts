/** Common names of ICMP types and codes. Sources: RFC 792, RFC 1812 §5.2.7.1, RFC 4443, IANA. */
import * as icmp from '../wire/icmp.ts';
import * as icmpv6 from '../wire/icmpv6.ts';

const ICMP_TYPES: Readonly<Record<number, string>> = {
  [icmp.ICMP_ECHO_REPLY]: 'echo-reply',
  [icmp.ICMP_UNREACHABLE]: 'unreachable',
  [icmp.ICMP_SOURCE_QUENCH]: 'source-quench',
  [icmp.ICMP_REDIRECT]: 'redirect',
  [icmp.ICMP_ECHO_REQUEST]: 'echo-request',
  9: 'router-advertisement',
  10: 'router-solicitation',
  [icmp.ICMP_TIME_EXCEEDED]: 'time-exceeded',
  [icmp.ICMP_PARAMETER_PROBLEM]: 'parameter-problem',
  [icmp.ICMP_TIMESTAMP_REQUEST]: 'timestamp-request',
  [icmp.ICMP_TIMESTAMP_REPLY]: 'timestamp-reply',
  [icmp.ICMP_MASK_REQUEST]: 'mask-request',
  [icmp.ICMP_MASK_REPLY]: 'mask-reply',
};

const UNREACHABLE_CODES: Readonly<Record<number, string>> = {
  [icmp.UNREACHABLE_NETWORK]: 'network',
  [icmp.UNREACHABLE_HOST]: 'host',
  [icmp.UNREACHABLE_PROTOCOL]: 'protocol',
  [icmp.UNREACHABLE_PORT]: 'port',
  [icmp.UNREACHABLE_FRAGMENTATION_NEEDED]: 'fragmentation-needed',
  5: 'source-route-failed',
  9: 'network-prohibited',
  10: 'host-prohibited',
  [icmp.UNREACHABLE_PROHIBITED]: 'prohibited',
};

const ICMPV6_TYPES: Readonly<Record<number, string>> = {
  [icmpv6.ICMPV6_UNREACHABLE]: 'unreachable',
  [icmpv6.ICMPV6_TOO_BIG]: 'too-big',
  [icmpv6.ICMPV6_TIME_EXCEEDED]: 'time-exceeded',
  [icmpv6.ICMPV6_PARAMETER_PROBLEM]: 'parameter-problem',
  [icmpv6.ICMPV6_ECHO_REQUEST]: 'echo-request',
  [icmpv6.ICMPV6_ECHO_REPLY]: 'echo-reply',
  130: 'listener-query',
  131: 'listener-report',
  [icmpv6.ICMPV6_ROUTER_SOLICITATION]: 'router-solicitation',
  [icmpv6.ICMPV6_ROUTER_ADVERTISEMENT]: 'router-advertisement',
  [icmpv6.ICMPV6_NEIGHBOUR_SOLICITATION]: 'neighbour-solicitation',
  [icmpv6.ICMPV6_NEIGHBOUR_ADVERTISEMENT]: 'neighbour-advertisement',
  [icmpv6.ICMPV6_REDIRECT]: 'redirect',
  143: 'listener-report-v2',
};

/** `echo-request`, `unreachable port`, …; numbers where no name is known. */
export function icmpName(type: number, code: number): string {
  const name = ICMP_TYPES[type] ?? `type-${type}`;
  if (type === icmp.ICMP_UNREACHABLE) return `${name} ${UNREACHABLE_CODES[code] ?? `code-${code}`}`;
  return code === 0 ? name : `${name} code-${code}`;
}

/** The same for ICMPv6. */
export function icmpv6Name(type: number, code: number): string {
  const name = ICMPV6_TYPES[type] ?? `type-${type}`;
  return code === 0 ? name : `${name} code-${code}`;
}
