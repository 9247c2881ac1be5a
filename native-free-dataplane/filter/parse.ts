/**
 * Parses filter expressions: the grammar of libpcap (grammar.y) for Ethernet. `and` and `or` have the same precedence and
 * associate to the left; an identifier without qualifiers has those of the identifier before it (`port 80 or 443`).
 */
import { addressFamily, parseAddress, parseMac } from '../wire/address.ts';
import { beginsArithmetic, both, readArithmetic, type TokenSource } from './arithmetic.ts';
import { type Arithmetic, and, type Condition, not, or } from './condition.ts';
import { FilterError } from './filter-error.ts';
import { addressCondition, nameCondition, numberCondition, protocolCondition, type Qualifiers } from './identifiers.ts';
import { type Direction, isBroadcast, isMulticast, type Layers, vlan, vxlan } from './primitives.ts';
import { Op } from './program.ts';
import { type Token, TokenKind, tokensOf } from './tokens.ts';

const MAX_NESTING = 64;

/** Comparisons: the operation, and whether its result is negated. */
const COMPARISONS: Readonly<Record<string, readonly [op: CompareOp, negated: boolean]>> = {
  '=': [Op.EQUAL, false],
  '!=': [Op.EQUAL, true],
  '>': [Op.GREATER, false],
  '<=': [Op.GREATER, true],
  '>=': [Op.AT_LEAST, false],
  '<': [Op.AT_LEAST, true],
};
type CompareOp = typeof Op.EQUAL | typeof Op.GREATER | typeof Op.AT_LEAST;

const PROTOCOLS = new Set('ether ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp'.split(' '));
const KINDS = new Set(['host', 'net', 'port', 'portrange']);

/** Qualifiers of an expression that gives none to an identifier behind it. */
const NONE: Qualifiers | undefined = undefined;

/** A condition, and the qualifiers that it leaves to identifiers behind it. */
interface Parsed {
  readonly condition: Condition;
  readonly qualifiers: Qualifiers | undefined;
}

/**
 * The condition of an expression; undefined if it is empty.
 * @param vxlanPort UDP port of VXLAN
 * @param layers where the headers of the frame are; changed by `vlan` and `vxlan`
 * @throws FilterError
 */
export function parseFilter(text: string, vxlanPort: number, layers: Layers): Condition | undefined {
  const tokens = tokensOf(text);
  return tokens.length === 1 ? undefined : new Parser(tokens, vxlanPort, layers).whole();
}

class Parser implements TokenSource {
  readonly layers: Layers;
  private readonly tokens: readonly Token[];
  private readonly vxlanPort: number;
  private next = 0;
  private depth = 0;

  constructor(tokens: readonly Token[], vxlanPort: number, layers: Layers) {
    this.tokens = tokens;
    this.vxlanPort = vxlanPort;
    this.layers = layers;
  }

  get token(): Token {
    return this.tokens[this.next];
  }

  isWord(word: string, ahead = 0): boolean {
    const token = this.tokens[this.next + ahead];
    return token !== undefined && token.kind === TokenKind.WORD && token.text === word;
  }

  take(): Token {
    return this.tokens[this.next++];
  }

  private takeWord(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.next++;
    return true;
  }

  expect(word: string): void {
    if (!this.takeWord(word)) throw this.unexpected(`"${word}"`);
  }

  unexpected(expected: string): FilterError {
    const { kind, text, column } = this.token;
    const found = kind === TokenKind.END ? 'the end of the filter' : `"${text}"`;
    return new FilterError(`expected ${expected}, found ${found}`, column);
  }

  nested<T>(read: () => T): T {
    if (++this.depth > MAX_NESTING) throw new FilterError('too many nested parentheses', this.token.column);
    const result = read();
    this.depth--;
    return result;
  }

  whole(): Condition {
    const { condition } = this.expression(NONE);
    if (this.token.kind !== TokenKind.END) throw this.unexpected('"and", "or" or the end of the filter');
    return condition;
  }

  /** @param inherited qualifiers for identifiers, of what is in front of the expression */
  private expression(inherited: Qualifiers | undefined): Parsed {
    let left = this.term(inherited, false);
    for (;;) {
      const join = this.isWord('and') ? and : this.isWord('or') ? or : undefined;
      if (join === undefined) return left;
      this.take();
      const right = this.term(left.qualifiers, true);
      left = { condition: join(left.condition, right.condition), qualifiers: right.qualifiers };
    }
  }

  /** @param mayBeIdentifier behind `and` and `or`, an identifier may stand without qualifiers */
  private term(inherited: Qualifiers | undefined, mayBeIdentifier: boolean): Parsed {
    if (this.takeWord('not')) {
      const { condition, qualifiers } = this.nested(() => this.term(inherited, mayBeIdentifier));
      return { condition: not(condition), qualifiers };
    }
    const comparison = this.comparison();
    if (comparison !== undefined) return { condition: comparison, qualifiers: NONE };
    if (mayBeIdentifier && this.atIdentifier()) return this.identifier(inherited);
    if (this.takeWord('(')) {
      const { condition } = this.nested(() => this.expression(inherited));
      this.expect(')');
      return { condition, qualifiers: inherited };
    }
    return this.primitive();
  }

  /** Does an identifier follow, within any parentheses and negations? */
  private atIdentifier(): boolean {
    let ahead = 0;
    while (this.isWord('(', ahead) || this.isWord('not', ahead)) ahead++;
    const { kind } = this.tokens[this.next + ahead];
    return kind !== TokenKind.WORD && kind !== TokenKind.END;
  }

  /** `arithmetic = arithmetic` and the like; undefined, with nothing taken, if there is none. */
  private comparison(): Condition | undefined {
    if (!beginsArithmetic(this)) return undefined;
    const { next, depth } = this;
    const tentative = this.isWord('(') || this.token.kind === TokenKind.NUMBER;
    let left: ReturnType<typeof readArithmetic>;
    try {
      left = readArithmetic(this);
    } catch (error) {
      if (!tentative) throw error;
      this.next = next;
      this.depth = depth;
      return undefined;
    }
    const found = this.token.kind === TokenKind.WORD ? COMPARISONS[this.token.text] : undefined;
    if (found === undefined) {
      if (!tentative) throw this.unexpected('a comparison');
      this.next = next;
      return undefined;
    }
    this.take();
    const right = readArithmetic(this);
    const [op, negated] = found;
    const holds: Condition = { kind: 'compare', op, left: left.arithmetic, right: right.arithmetic };
    const guard = both(left.guard, right.guard);
    const result = negated ? not(holds) : holds;
    return guard === undefined ? result : and(guard, result);
  }

  /** An identifier with these qualifiers, or several in parentheses. */
  private identifier(qualifiers: Qualifiers | undefined): Parsed {
    if (this.takeWord('not')) {
      const parsed = this.nested(() => this.identifier(qualifiers));
      return { ...parsed, condition: not(parsed.condition) };
    }
    if (this.takeWord('(')) {
      const parsed = this.nested(() => this.identifiers(qualifiers));
      this.expect(')');
      return parsed;
    }
    return { condition: this.oneIdentifier(qualifiers), qualifiers };
  }

  private identifiers(qualifiers: Qualifiers | undefined): Parsed {
    let left = this.identifier(qualifiers);
    for (;;) {
      const join = this.isWord('and') ? and : this.isWord('or') ? or : undefined;
      if (join === undefined) return left;
      this.take();
      const right = this.identifier(qualifiers);
      left = { condition: join(left.condition, right.condition), qualifiers };
    }
  }

  private oneIdentifier(qualifiers: Qualifiers | undefined): Condition {
    const { layers, token } = this;
    if (token.kind === TokenKind.WORD || token.kind === TokenKind.END) throw this.unexpected(expectedBy(qualifiers));
    if (qualifiers === undefined) {
      throw new FilterError(`"${token.text}" needs a qualifier such as host or port in front of it`, token.column);
    }
    this.take();
    const at = { layers, qualifiers, column: token.column };
    switch (token.kind) {
      case TokenKind.NUMBER:
        return numberCondition(at, token.value);
      case TokenKind.NAME:
        return nameCondition(at, token.text);
      case TokenKind.MAC:
        return addressCondition(at, { mac: parseMac(token.text.replaceAll('-', ':')), text: token.text });
      case TokenKind.IPV6: {
        const words = parseAddress(token.text);
        if (words === undefined || addressFamily(words) !== 6) {
          throw new FilterError(`"${token.text}" is not an IPv6 address`, token.column);
        }
        return addressCondition(at, { ipv6: words, text: token.text, prefix: this.prefix(128) });
      }
      default: {
        const mask = this.takeWord('mask') ? this.takeMask() : undefined;
        return addressCondition(at, { ipv4: token.text, text: token.text, mask, prefix: this.prefix(32) });
      }
    }
  }

  private takeMask(): string {
    if (this.token.kind !== TokenKind.IPV4) throw this.unexpected('a netmask');
    return this.take().text;
  }

  /** `/length` behind an address. */
  private prefix(most: number): number | undefined {
    if (!this.takeWord('/')) return undefined;
    const { kind, value } = this.token;
    if (kind !== TokenKind.NUMBER || value > most) throw this.unexpected(`a prefix length of at most ${most}`);
    this.take();
    return value;
  }

  private primitive(): Parsed {
    const { token } = this;
    const other = this.otherPrimitive();
    if (other !== undefined) return { condition: other, qualifiers: NONE };
    const protocol = token.kind === TokenKind.WORD && PROTOCOLS.has(token.text) ? this.take().text : undefined;
    if (this.takeWord('broadcast')) {
      if (protocol === undefined || protocol === 'ether') {
        return { condition: isBroadcast(this.layers), qualifiers: NONE };
      }
      throw new FilterError(`"${protocol} broadcast" is not supported: use ether broadcast`, token.column);
    }
    if (this.takeWord('multicast')) {
      const kind = protocol ?? 'ether';
      if (kind === 'ether' || kind === 'ip' || kind === 'ip6') {
        return { condition: isMulticast(this.layers, kind), qualifiers: NONE };
      }
      throw new FilterError(`"${kind} multicast": expected ether, ip or ip6 multicast`, token.column);
    }
    const direction = this.direction();
    const kind = this.kind(direction);
    if (direction === undefined && kind === undefined) {
      // `ip 10.0.0.1` is not in the grammar: a protocol alone ends here.
      if (protocol === undefined) throw this.unexpected('a primitive such as host, port or tcp');
      return { condition: protocolCondition(this.layers, protocol, token.column), qualifiers: NONE };
    }
    return this.identifier({ protocol, direction, kind: kind ?? 'host', column: token.column });
  }

  private direction(): Direction {
    for (const [first, second] of [
      ['src', 'dst'],
      ['dst', 'src'],
    ] as const) {
      if (!this.isWord(first)) continue;
      this.take();
      for (const join of ['or', 'and'] as const) {
        if (!this.isWord(join) || !this.isWord(second, 1)) continue;
        this.next += 2;
        return `src ${join} dst`;
      }
      return first;
    }
    return undefined;
  }

  private kind(direction: Direction): Qualifiers['kind'] | undefined {
    const { kind, text } = this.token;
    if (kind !== TokenKind.WORD) return undefined;
    const fits = KINDS.has(text) || (text === 'proto' && direction === undefined);
    return fits ? (this.take().text as Qualifiers['kind']) : undefined;
  }

  private otherPrimitive(): Condition | undefined {
    if (this.isWord('less') || this.isWord('greater')) {
      const less = this.take().text === 'less';
      if (this.token.kind !== TokenKind.NUMBER) throw this.unexpected('a length');
      const right: Arithmetic = { kind: 'number', value: this.take().value | 0 };
      const op = less ? Op.GREATER : Op.AT_LEAST;
      const holds: Condition = { kind: 'compare', op, left: { kind: 'length' }, right };
      return less ? not(holds) : holds;
    }
    if (this.takeWord('vlan')) return vlan(this.layers, this.optionalNumber('a VLAN identifier', 0xfff));
    if (!this.takeWord('vxlan')) return undefined;
    return vxlan(this.layers, this.vxlanPort, this.optionalNumber('a VNI', 0xffffff));
  }

  private optionalNumber(what: string, most: number): number | undefined {
    if (this.token.kind !== TokenKind.NUMBER) return undefined;
    if (this.token.value > most) throw this.unexpected(`${what} of at most ${most}`);
    return this.take().value;
  }
}

function expectedBy(qualifiers: Qualifiers | undefined): string {
  switch (qualifiers?.kind) {
    case 'port':
      return 'a port';
    case 'portrange':
      return 'a range of ports such as 80-90';
    case 'proto':
      return 'a protocol: a number, or a name behind a backslash';
    case 'net':
      return 'a network such as 10.244.0.0/16';
    default:
      return 'an address';
  }
}
