/** Names of protocols, ICMP types and codes, as people know them. Sources: IANA protocol numbers, RFC 792, RFC 4443. */

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  2: 'igmp',
  4: 'ipip',
  6: 'tcp',
  17: 'udp',
  33: 'dccp',
  41: 'sit',
  47: 'gre',
  50: 'esp',
  51: 'ah',
  58: 'icmp6',
  89: 'ospf',
  112: 'vrrp',
  132: 'sctp',
  136: 'udplite',
};

const ICMP_TYPES: Readonly<Record<number, string>> = {
  0: 'echo-reply',
  3: 'unreachable',
  4: 'source-quench',
  5: 'redirect',
  8: 'echo-request',
  9: 'router-advertisement',
  10: 'router-solicitation',
  11: 'time-exceeded',
  12: 'parameter-problem',
  13: 'timestamp-request',
  14: 'timestamp-reply',
  17: 'mask-request',
  18: 'mask-reply',
};

const UNREACHABLE_CODES: Readonly<Record<number, string>> = {
  0: 'network',
  1: 'host',
  2: 'protocol',
  3: 'port',
  4: 'fragmentation-needed',
  5: 'source-route-failed',
  9: 'network-prohibited',
  10: 'host-prohibited',
  13: 'prohibited',
};

const ICMPV6_TYPES: Readonly<Record<number, string>> = {
  1: 'unreachable',
  2: 'too-big',
  3: 'time-exceeded',
  4: 'parameter-problem',
  128: 'echo-request',
  129: 'echo-reply',
  130: 'listener-query',
  131: 'listener-report',
  133: 'router-solicitation',
  134: 'router-advertisement',
  135: 'neighbour-solicitation',
  136: 'neighbour-advertisement',
  137: 'redirect',
  143: 'listener-report-v2',
};

/** `tcp`, `udp`, …; `protocol-N` for one without a name here. */
export function protocolName(protocol: number): string {
  return PROTOCOLS[protocol] ?? `protocol-${protocol}`;
}

/** `echo-request`, `unreachable port`, …; numbers where there is no name. */
export function icmpName(type: number, code: number): string {
  const name = ICMP_TYPES[type] ?? `type-${type}`;
  if (type === 3) return `${name} ${UNREACHABLE_CODES[code] ?? `code-${code}`}`;
  return code === 0 ? name : `${name} code-${code}`;
}

/** The same for ICMPv6. */
export function icmpv6Name(type: number, code: number): string {
  const name = ICMPV6_TYPES[type] ?? `type-${type}`;
  return code === 0 ? name : `${name} code-${code}`;
}
