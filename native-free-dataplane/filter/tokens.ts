/** Splits a filter expression into tokens, as libpcap's scanner does: the longest match, and of equal ones the first. */
import { FilterError } from './filter-error.ts';

export const TokenKind = {
  END: 'end',
  /** A keyword or an operator; `text` is its one spelling (`and` for `&&`, `not` for `!`, `=` for `==`). */
  WORD: 'word',
  NUMBER: 'number',
  /** Two to four decimal numbers with dots: an IPv4 address or the first parts of one. */
  IPV4: 'ipv4',
  IPV6: 'ipv6',
  MAC: 'mac',
  /** Anything else that looks like a name, such as `80-90` or `http`. */
  NAME: 'name',
} as const;
export type TokenKind = (typeof TokenKind)[keyof typeof TokenKind];

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly value: number;
  /** From 1. */
  readonly column: number;
}

/** Longer expressions are refused: this bounds the work for each. */
const MAX_TEXT = 8192;

const KEYWORDS: Readonly<Record<string, string>> = Object.fromEntries(
  `src dst host net mask port portrange proto and or not less greater broadcast multicast vlan vxlan ether ip ip6 arp
rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp len`
    .split(/\s+/)
    .map((word) => [word, word])
    .concat([
      ['link', 'ether'],
      ['length', 'len'],
    ]),
);

/** Words of pcap-filter(7) that have no meaning on a node's Ethernet devices, or that need what a worker does not know. */
const UNSUPPORTED = new Set(
  `gateway protochain mpls pppoed pppoes geneve inbound outbound ifindex byte type subtype dir direction fddi tr wlan
ppp slip atalk aarp decnet lat sca moprc mopdl iso esis isis clnp stp ipx netbeui llc radio ifname on rset ruleset rnr
rulenum srnr subrulenum reason action addr1 addr2 addr3 addr4 ra ta`.split(/\s+/),
);

/** Offsets and values with names (libpcap scanner.l). */
const NUMBERS: Readonly<Record<string, number>> = {
  icmptype: 0,
  icmpcode: 1,
  icmp6type: 0,
  icmp6code: 1,
  tcpflags: 13,
  'tcp-fin': 0x01,
  'tcp-syn': 0x02,
  'tcp-rst': 0x04,
  'tcp-push': 0x08,
  'tcp-ack': 0x10,
  'tcp-urg': 0x20,
  'tcp-ece': 0x40,
  'tcp-cwr': 0x80,
  'icmp-echoreply': 0,
  'icmp-unreach': 3,
  'icmp-sourcequench': 4,
  'icmp-redirect': 5,
  'icmp-echo': 8,
  'icmp-routeradvert': 9,
  'icmp-routersolicit': 10,
  'icmp-timxceed': 11,
  'icmp-paramprob': 12,
  'icmp-tstamp': 13,
  'icmp-tstampreply': 14,
  'icmp-ireq': 15,
  'icmp-ireqreply': 16,
  'icmp-maskreq': 17,
  'icmp-maskreply': 18,
  'icmp6-destinationunreach': 1,
  'icmp6-packettoobig': 2,
  'icmp6-timeexceeded': 3,
  'icmp6-parameterproblem': 4,
  'icmp6-echo': 128,
  'icmp6-echoreply': 129,
  'icmp6-routersolicit': 133,
  'icmp6-routeradvert': 134,
  'icmp6-neighborsolicit': 135,
  'icmp6-neighboradvert': 136,
  'icmp6-redirect': 137,
};

const OPERATORS: Readonly<Record<string, string>> = { '&&': 'and', '||': 'or', '!': 'not', '==': '=' };

const HEX = '[0-9a-fA-F]';
const PATTERNS: readonly [TokenKind, RegExp][] = [
  [TokenKind.WORD, /&&|\|\||>=|<=|!=|==|<<|>>|[-+*/%:[\]!<>()&|^=]/y],
  [TokenKind.MAC, new RegExp(`${HEX}{1,2}([:-])(?:${HEX}{1,2}\\1){4}${HEX}{1,2}`, 'y')],
  [TokenKind.NUMBER, /0[xX][0-9a-fA-F]+|[0-9]+/y],
  [TokenKind.IPV4, /[0-9]+(?:\.[0-9]+){1,3}/y],
  [TokenKind.IPV6, new RegExp(`(?=${HEX}*:)(?:${HEX}{0,4}:){2,8}(?:${HEX}{0,4}|[0-9]+(?:\\.[0-9]+){3})`, 'y')],
  [TokenKind.NAME, /[A-Za-z0-9](?:[-_.A-Za-z0-9]*[.A-Za-z0-9])?/y],
  [TokenKind.NAME, /\\[^ !()\n\t]+/y],
];

/** @throws FilterError */
export function tokensOf(text: string): Token[] {
  if (text.length > MAX_TEXT) throw new FilterError(`the filter is longer than ${MAX_TEXT} characters`);
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; ) {
    if (/\s/.test(text[at])) at++;
    else {
      const [kind, found] = longestMatch(text, at);
      tokens.push(tokenOf(kind, found, at + 1));
      at += found.length;
    }
  }
  tokens.push({ kind: TokenKind.END, text: '', value: 0, column: text.length + 1 });
  return tokens;
}

function longestMatch(text: string, at: number): [TokenKind, string] {
  let best: [TokenKind, string] | undefined;
  for (const [kind, pattern] of PATTERNS) {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined && found.length > (best?.[1].length ?? 0)) best = [kind, found];
  }
  if (best === undefined) throw new FilterError(`unexpected character "${text[at]}"`, at + 1);
  return best;
}

function tokenOf(kind: TokenKind, found: string, column: number): Token {
  if (kind === TokenKind.WORD) return { kind, text: OPERATORS[found] ?? found, value: 0, column };
  if (kind === TokenKind.NUMBER) return { kind, text: found, value: numberOf(found, column), column };
  if (kind !== TokenKind.NAME) return { kind, text: found, value: 0, column };
  if (found.startsWith('\\')) return { kind, text: found.slice(1), value: 0, column };
  const value = Object.hasOwn(NUMBERS, found) ? NUMBERS[found] : undefined;
  if (value !== undefined) return { kind: TokenKind.NUMBER, text: found, value, column };
  if (Object.hasOwn(KEYWORDS, found)) return { kind: TokenKind.WORD, text: KEYWORDS[found], value: 0, column };
  if (UNSUPPORTED.has(found)) throw new FilterError(`"${found}" is not supported here`, column);
  return { kind, text: found, value: 0, column };
}

/** As strtoul(3) with base 0: hexadecimal with 0x, octal with a leading 0. */
function numberOf(text: string, column: number): number {
  const octal = /^0[0-9]/.test(text);
  if (octal && /[89]/.test(text)) throw new FilterError(`"${text}" is not an octal number`, column);
  const value = octal ? Number.parseInt(text, 8) : Number(text);
  if (value > 0xffffffff) throw new FilterError(`"${text}" does not fit into 32 bits`, column);
  return value;
}
