/**
 * Would the firewall of a node's kernel drop a packet that goes through it? Evaluates other programs' nftables rules (`nft -j list
 * ruleset`) as far as they are understood: a rule with a match that is not stops the search, so that nothing is claimed that is not
 * certain. Chains that the kernel's hooks do not show the packet to are not passed; see `sees`.
 */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { type RuleStatement, rulesetObjects } from '../../linux/nft-ruleset.ts';
import { contains, parseCidr, parseIp } from '../../net/address.ts';

/** A packet at a node's kernel. */
export interface KernelPacket {
  readonly src: string;
  readonly dst: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** Undefined for protocols without ports. */
  readonly srcPort: number | undefined;
  readonly dstPort: number | undefined;
  readonly inDevice: string | undefined;
  readonly outDevice: string | undefined;
}

export interface FirewallRule {
  readonly expr: readonly RuleStatement[];
}

export interface FirewallChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  /** Undefined: only reached from other chains. */
  readonly hook: string | undefined;
  readonly priority: number;
  readonly policy: string | undefined;
  /** Of the family netdev; undefined if nft does not list it. */
  readonly device: string | undefined;
  readonly rules: readonly FirewallRule[];
}

const keyOf = (family: string, table: string, name: string): string => `${family} ${table} ${name}`;

/** @param json output of `nft -j list ruleset` @param own name of the tables to leave out */
export function readFirewall(json: string, own: string): FirewallChain[] {
  const objects = rulesetObjects(json);
  const rules = new Map<string, FirewallRule[]>();
  for (const { rule } of objects) {
    if (rule === undefined) continue;
    const key = keyOf(rule.family, rule.table, rule.chain);
    const known = rules.get(key) ?? [];
    rules.set(key, known);
    known.push({ expr: rule.expr ?? [] });
  }
  return objects.flatMap(({ chain }) => {
    if (chain === undefined || chain.table === own) return [];
    const { family, table, name, hook, prio = 0, policy, dev } = chain;
    return [
      {
        family,
        table,
        name,
        hook,
        priority: prio,
        policy,
        device: dev,
        rules: rules.get(keyOf(family, table, name)) ?? [],
      },
    ];
  });
}

/** Rules that are evaluated for one packet, at most. */
const MAX_RULES = 20_000;
/** Jumps within each other (linux include/net/netfilter/nf_tables.h NFT_JUMP_STACK_SIZE). */
const MAX_JUMPS = 16;

/**
 * The rule that drops the packet, as text; undefined if none does, or if that is not certain.
 * @param sees the chains of which hooks the packet passes
 */
export function droppingRule(
  chains: readonly FirewallChain[],
  packet: KernelPacket,
  sees: (chain: FirewallChain) => boolean,
): string | undefined {
  const evaluation = new Evaluation(chains, packet);
  for (const chain of chains) {
    if (chain.hook === undefined || !sees(chain)) continue;
    const dropped = evaluation.base(chain);
    if (dropped !== undefined) return dropped;
  }
  return undefined;
}

type Result = { readonly dropped: string } | 'accepted' | 'unknown' | 'next';

class Evaluation {
  private readonly chains: readonly FirewallChain[];
  private readonly packet: KernelPacket;
  private left = MAX_RULES;

  constructor(chains: readonly FirewallChain[], packet: KernelPacket) {
    this.chains = chains;
    this.packet = packet;
  }

  base(chain: FirewallChain): string | undefined {
    const result = this.rules(chain);
    if (typeof result === 'object') return result.dropped;
    const where = `${chain.family} ${chain.table} ${chain.name}`;
    return result === 'next' && chain.policy === 'drop' ? `the policy of chain ${where} is drop` : undefined;
  }

  private rules(chain: FirewallChain, depth = 0): Result {
    if (depth > MAX_JUMPS) return 'unknown';
    for (const { expr } of chain.rules) {
      if (this.left-- <= 0) return 'unknown';
      const result = this.rule(chain, expr, depth);
      if (result === 'return') return 'next';
      if (result !== 'next') return result;
    }
    return 'next';
  }

  private rule(chain: FirewallChain, expr: FirewallRule['expr'], depth: number): Result | 'return' {
    let unsure = false;
    for (const statement of expr) {
      const [kind = '', value] = Object.entries(statement)[0] ?? [];
      if (kind === 'match') {
        const matches = isMatch(value as Match, this.packet);
        if (matches === false) return 'next';
        unsure ||= matches === undefined;
        continue;
      }
      if (HARMLESS.has(kind)) continue;
      // From here on it matters whether the rule applies.
      if (unsure) return 'unknown';
      if (kind === 'accept') return 'accepted';
      if (kind === 'return') return 'return';
      if (kind === 'drop' || kind === 'reject') {
        return { dropped: `${ruleText(expr)} (chain ${chain.family} ${chain.table} ${chain.name})` };
      }
      if (kind !== 'jump' && kind !== 'goto') return 'unknown';
      const { target } = value as { target: string };
      const called = this.chains.find(
        (one) => one.family === chain.family && one.table === chain.table && one.name === target,
      );
      const result = called === undefined ? 'unknown' : this.rules(called, depth + 1);
      if (result !== 'next') return result;
      if (kind === 'goto') return 'return';
    }
    return 'next';
  }
}

/** Statements that do not decide what becomes of the packet. */
const HARMLESS = new Set(['counter', 'log', 'limit', 'notrack', 'mangle', 'comment', 'quota']);

interface Match {
  readonly op: string;
  readonly left: unknown;
  readonly right: unknown;
}

/** Undefined: not known. */
function isMatch({ op, left, right }: Match, packet: KernelPacket): boolean | undefined {
  const value = fieldOf(left, packet);
  if (value === undefined) return undefined;
  if (value === null) return false;
  const has = includes(right, value);
  if (has === undefined) return undefined;
  if (op === '==' || op === 'in') return has;
  return op === '!=' ? !has : undefined;
}

/** Undefined: not known; null: the packet does not have it. */
function fieldOf(left: unknown, packet: KernelPacket): string | number | null | undefined {
  const { payload, meta } = (left ?? {}) as {
    payload?: { protocol?: string; field?: string };
    meta?: { key?: string };
  };
  const protocol = protocolName(packet.protocol);
  if (meta !== undefined) {
    if (meta.key === 'l4proto') return protocol;
    if (meta.key === 'iifname' || meta.key === 'iif') return packet.inDevice ?? '';
    return meta.key === 'oifname' || meta.key === 'oif' ? (packet.outDevice ?? '') : undefined;
  }
  if (payload?.protocol === 'ip') {
    const { field } = payload;
    if (field === 'saddr') return packet.src;
    if (field === 'daddr') return packet.dst;
    return field === 'protocol' ? protocol : undefined;
  }
  if (payload?.protocol === 'ip6') return null;
  if (payload?.protocol !== undefined && payload.protocol !== 'th' && payload.protocol !== protocol) return null;
  if (payload?.field === 'sport') return packet.srcPort ?? null;
  return payload?.field === 'dport' ? (packet.dstPort ?? null) : undefined;
}

function includes(right: unknown, value: string | number): boolean | undefined {
  if (typeof right === 'number') return right === value;
  if (typeof right === 'string') return right.startsWith('@') ? undefined : sameText(right, value);
  const { set, range, prefix } = (right ?? {}) as {
    set?: unknown;
    range?: readonly [unknown, unknown];
    prefix?: { addr: string; len: number };
  };
  if (Array.isArray(set)) {
    const each = set.map((one) => includes(one, value));
    return each.includes(true) ? true : each.includes(undefined) ? undefined : false;
  }
  if (range !== undefined && typeof value === 'number') return value >= Number(range[0]) && value <= Number(range[1]);
  if (prefix === undefined) return undefined;
  const [network, address] = [parseCidr(`${prefix.addr}/${prefix.len}`), parseIp(String(value))];
  return network === undefined || address === undefined ? undefined : contains(network, address);
}

/** Names of devices may end with a wildcard. */
const sameText = (text: string, value: string | number): boolean =>
  text.endsWith('*') ? String(value).startsWith(text.slice(0, -1)) : text === String(value);

/** A rule roughly as nft prints it. */
function ruleText(expr: FirewallRule['expr']): string {
  return expr
    .map((statement) => {
      const [kind = '', value] = Object.entries(statement)[0] ?? [];
      if (kind !== 'match') return kind === 'drop' || kind === 'reject' ? kind : '';
      const { op, left, right } = value as Match;
      const { payload, meta } = left as { payload?: { protocol: string; field: string }; meta?: { key: string } };
      const what = payload ? `${payload.protocol} ${payload.field}` : (meta?.key ?? '');
      return `${what} ${op === '!=' ? '!= ' : ''}${rightText(right)}`;
    })
    .filter((text) => text !== '')
    .join(' ');
}

function rightText(right: unknown): string {
  if (typeof right !== 'object' || right === null) return String(right);
  const { set, range, prefix } = right as {
    set?: unknown[];
    range?: unknown[];
    prefix?: { addr: string; len: number };
  };
  if (set !== undefined) return `{ ${set.map(rightText).join(', ')} }`;
  if (range !== undefined) return range.join('-');
  return prefix === undefined ? JSON.stringify(right) : `${prefix.addr}/${prefix.len}`;
}
