/**
 * Policy routing rules as data: converted to the arguments of `ip rule`, and read from its output.
 *
 * A rule without ports is never matched by port, and the kernel sees no ports in a fragment, the first one included
 * (linux include/net/ip_fib.h, fib4_rules_early_flow_dissect).
 */
import { ipOutput } from './ip-command.ts';

/** Routing tables that the kernel itself fills (linux include/uapi/linux/rtnetlink.h). */
export const LOCAL_TABLE = 255;
/** Highest port a rule may name (linux include/net/fib_rules.h, fib_rule_port_range_valid). */
export const LAST_RULE_PORT = 65534;

/** What a rule does with packets that match. */
export type RuleAction = { readonly table: number } | { readonly goto: number } | 'nop';

/** A policy routing rule for IPv4. Omitted conditions match every packet. */
export interface Rule {
  readonly preference: number;
  /** Device on which the packet arrived. */
  readonly from?: string;
  /** Source and destination: a.b.c.d or a.b.c.d/n. A source of 0.0.0.0 stands for a socket that has none yet. */
  readonly source?: string;
  readonly to?: string;
  /** IP protocol number: names depend on /etc/protocols. */
  readonly protocol?: number;
  /** Destination ports, both included. */
  readonly ports?: readonly [first: number, last: number];
  readonly action: RuleAction;
}

/** The arguments of `ip rule add` or `ip rule del`. */
export function ruleWords({ preference, from, source, to, protocol, ports, action }: Rule): string {
  const words = [`pref ${preference}`];
  if (from !== undefined) words.push(`iif ${from}`);
  if (source !== undefined) words.push(`from ${source}`);
  if (to !== undefined) words.push(`to ${to}`);
  if (protocol !== undefined) words.push(`ipproto ${protocol}`);
  if (ports !== undefined) words.push(`dport ${ports[0] === ports[1] ? ports[0] : ports.join('-')}`);
  if (action === 'nop') words.push('nop');
  else words.push('table' in action ? `lookup ${action.table}` : `goto ${action.goto}`);
  return words.join(' ');
}

/** A rule in the output of `ip -N -j rule show`: the properties that our rules use. */
interface ShownRule {
  readonly priority: number;
  readonly iif?: string;
  /** `all` without one. */
  readonly src?: string;
  readonly srclen?: number;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly ipproto?: string;
  readonly dport?: number;
  readonly dport_start?: number;
  readonly dport_end?: number;
  readonly table?: string;
  readonly goto?: number;
}

const network = (address: string, prefix: number | undefined): string =>
  prefix === undefined ? address : `${address}/${prefix}`;

function ruleOf(shown: ShownRule): Rule {
  const first = shown.dport ?? shown.dport_start;
  const last = shown.dport ?? shown.dport_end;
  return {
    preference: shown.priority,
    ...(shown.iif !== undefined && { from: shown.iif }),
    ...(shown.src !== undefined && shown.src !== 'all' && { source: network(shown.src, shown.srclen) }),
    ...(shown.dst !== undefined && { to: network(shown.dst, shown.dstlen) }),
    ...(shown.ipproto !== undefined && { protocol: Number(shown.ipproto.replace('ipproto-', '')) }),
    ...(first !== undefined && last !== undefined && { ports: [first, last] }),
    action:
      shown.goto !== undefined
        ? { goto: shown.goto }
        : shown.table !== undefined
          ? { table: Number(shown.table) }
          : 'nop',
  };
}

/** The namespace's IPv4 rules. @throws IpCommandError */
export function presentRules(): Rule[] {
  const shown = JSON.parse(ipOutput(['-N', '-4', '-j', 'rule', 'show']) || '[]') as ShownRule[];
  return shown.map(ruleOf);
}
