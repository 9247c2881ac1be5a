/** Arithmetic of filter expressions: `tcp[tcpflags] & (tcp-syn|tcp-fin) != 0`, `len - ip[2:2] > 14`. */
import { PROTOCOL_ICMP, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from '../protocols.ts';
import { ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import { type Arithmetic, and, type Condition, type Size } from './condition.ts';
import { FilterError } from './filter-error.ts';
import { ETHERTYPES, etherType, firstFragment, isIcmpv6, type Layers, overIp, overIpv4 } from './primitives.ts';
import { Op } from './program.ts';
import { type Token, TokenKind } from './tokens.ts';

/** A value, and what must hold for its fields to exist. */
export interface Value {
  readonly arithmetic: Arithmetic;
  readonly guard: Condition | undefined;
}

/** The part of the parser that arithmetic uses. */
export interface TokenSource {
  readonly layers: Layers;
  readonly token: Token;
  isWord(word: string, ahead?: number): boolean;
  take(): Token;
  expect(word: string): void;
  unexpected(expected: string): FilterError;
  nested<T>(read: () => T): T;
}

const OPERATORS: readonly Readonly<Record<string, Op>>[] = [
  { '|': Op.OR, '^': Op.XOR },
  { '&': Op.AND },
  { '<<': Op.SHIFT_LEFT, '>>': Op.SHIFT_RIGHT },
  { '+': Op.ADD, '-': Op.SUBTRACT },
  { '*': Op.MULTIPLY, '/': Op.DIVIDE, '%': Op.REMAINDER },
];

/** Protocols over IP whose headers may be indexed, and whether IPv6 counts (libpcap gen_proto_abbrev). */
const TRANSPORTS: Readonly<Record<string, readonly [protocol: number, overIpv6: boolean]>> = {
  tcp: [PROTOCOL_TCP, true],
  udp: [PROTOCOL_UDP, true],
  sctp: [PROTOCOL_SCTP, true],
  icmp: [PROTOCOL_ICMP, false],
  igmp: [2, false],
  igrp: [9, false],
  pim: [103, true],
  vrrp: [112, false],
  carp: [112, false],
};

/** Can this token begin arithmetic, looking at the one behind it too? A protocol does if an index follows. */
export function beginsArithmetic(source: TokenSource): boolean {
  const { token } = source;
  if (token.kind === TokenKind.NUMBER) return true;
  return source.isWord('len') || source.isWord('-') || source.isWord('(') || source.isWord('[', 1);
}

export function readArithmetic(source: TokenSource, level = 0): Value {
  if (level === OPERATORS.length) return readUnary(source);
  let left = readArithmetic(source, level + 1);
  for (;;) {
    const { token } = source;
    const op = token.kind === TokenKind.WORD ? OPERATORS[level][token.text] : undefined;
    if (op === undefined) return left;
    source.take();
    const at = source.token.column;
    const right = readArithmetic(source, level + 1);
    checkConstant(op, right.arithmetic, at);
    left = {
      arithmetic: { kind: 'binary', op, left: left.arithmetic, right: right.arithmetic },
      guard: both(left.guard, right.guard),
    };
  }
}

function checkConstant(op: Op, right: Arithmetic, column: number): void {
  if (right.kind !== 'number') return;
  if ((op === Op.DIVIDE || op === Op.REMAINDER) && right.value === 0) throw new FilterError('division by zero', column);
  if ((op === Op.SHIFT_LEFT || op === Op.SHIFT_RIGHT) && right.value > 31) {
    throw new FilterError('shift by more than 31 bits', column);
  }
}

export function both(first: Condition | undefined, second: Condition | undefined): Condition | undefined {
  return first === undefined || second === undefined ? (first ?? second) : and(first, second);
}

function readUnary(source: TokenSource): Value {
  if (source.isWord('-')) {
    source.take();
    const { arithmetic, guard } = source.nested(() => readUnary(source));
    return { arithmetic: { kind: 'negate', of: arithmetic }, guard };
  }
  if (source.isWord('(')) {
    source.take();
    const inner = source.nested(() => readArithmetic(source));
    source.expect(')');
    return inner;
  }
  if (source.isWord('len')) {
    source.take();
    return { arithmetic: { kind: 'length' }, guard: undefined };
  }
  if (source.token.kind === TokenKind.NUMBER) {
    return { arithmetic: { kind: 'number', value: source.take().value | 0 }, guard: undefined };
  }
  if (source.token.kind === TokenKind.WORD && source.isWord('[', 1)) return readIndexed(source);
  throw source.unexpected('a number, len or a protocol with an index');
}

/** `proto[index]` or `proto[index:size]`. */
function readIndexed(source: TokenSource): Value {
  const { layers } = source;
  const protocol = source.take();
  const place = placeOf(layers, protocol.text);
  if (place === undefined) {
    throw new FilterError(`bytes of "${protocol.text}" cannot be tested`, protocol.column);
  }
  source.expect('[');
  const index = source.nested(() => readArithmetic(source));
  let size = 1;
  if (source.isWord(':')) {
    source.take();
    size = source.token.value;
    if (source.token.kind !== TokenKind.NUMBER || ![1, 2, 4].includes(size)) {
      throw source.unexpected('a size of 1, 2 or 4 bytes');
    }
    source.take();
  }
  source.expect(']');
  const { guard, ...base } = place;
  return {
    arithmetic: { kind: 'load', base: { ...base, size: size as Size }, index: index.arithmetic },
    guard: both(index.guard, guard),
  };
}

interface Place {
  readonly offset: number;
  readonly header?: number;
  readonly guard: Condition | undefined;
}

function placeOf(layers: Layers, protocol: string): Place | undefined {
  const { link, network } = layers;
  if (protocol === 'ether') return { offset: link, guard: undefined };
  const type = ETHERTYPES[protocol];
  if (type !== undefined) return { offset: network, guard: etherType(layers, type) };
  // Behind the IPv6 header itself: extension headers are not followed.
  if (protocol === 'icmp6') return { offset: network + 40, guard: isIcmpv6(layers) };
  const transport = TRANSPORTS[protocol];
  if (transport === undefined) return undefined;
  const [number, anyFamily] = transport;
  const carried = anyFamily ? overIp(layers, number) : overIpv4(layers, number);
  const guard = and(etherType(layers, ETHERTYPE_IPV4), and(carried, firstFragment(layers)));
  return { offset: network, header: network, guard };
}
