/**
 * Coexistence with a node's firewall. Packets that the data plane forwards bypass the kernel's conntrack, which sees
 * only one direction of a connection and would classify its packets as invalid. Chains that drop forwarded packets get
 * a rule in front that accepts dp0's, as flannel does.
 *
 * Read before editing: linux net/ipv4/netfilter/nf_defrag_ipv4.c (untracked fragments are left alone), net/netfilter/
 * nft_ct.c (notrack); flannel pkg/trafficmngr/iptables (the accepts).
 */
import { spawnSync } from 'node:child_process';
import type { RoutedPort } from './host-options.ts';
import { hostPortMatches } from './host-port-matches.ts';
import { HOST_DEVICE } from './rule-order.ts';
import { NFT_TABLE, nft } from './shortcut.ts';

/** Priority before the kernel reassembles fragments for tracking (NF_IP_PRI_CONNTRACK_DEFRAG is -400). */
const BEFORE_REASSEMBLY = -450;
/** Priority before tracking (NF_IP_PRI_CONNTRACK is -200; NF_IP_PRI_RAW is -300). */
const BEFORE_TRACKING = -300;

/** What must bypass the kernel's conntrack. */
export interface NotTracked {
  readonly localAddresses: readonly string[];
  /** Networks whose packets are routed to dp0. */
  readonly networks: readonly string[];
  /** nft matches for the overlay packets that are received through dp0. */
  readonly overlayMatches: readonly string[];
  /** Ports of pods on addresses of the node. */
  readonly hostPorts: readonly RoutedPort[];
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
}

/**
 * The `notrack` rules, as input of `nft -f`. Packets that the node's own sockets send and receive through dp0 stay
 * tracked, because the node's firewall may match on their connection state.
 */
export function untrackedRules(options: NotTracked): string {
  const { localAddresses, networks, overlayMatches } = options;
  const ranges = [options.nodePortRange, options.masqueradePorts].map(([low, high]) => `${low}-${high}`).join(', ');
  const ports = `ip daddr { ${localAddresses.join(', ')} } meta l4proto { tcp, udp, sctp } th dport { ${ranges} }`;
  const hostPorts = hostPortMatches(options.hostPorts, localAddresses);
  const fromWire = [...overlayMatches, ports, ...hostPorts].map(
    (match) => `iifname != { "lo", "${HOST_DEVICE}" } ${match} notrack`,
  );
  return `
table ip ${NFT_TABLE} {
  chain forwarded {
    type filter hook prerouting priority ${BEFORE_REASSEMBLY}; policy accept;
    iifname "${HOST_DEVICE}" fib daddr type != local notrack
    iifname != { "lo", "${HOST_DEVICE}" } ip daddr { ${networks.join(', ')} } fib daddr type != local notrack
  }
  chain for-us {
    type filter hook prerouting priority ${BEFORE_TRACKING}; policy accept;
    ${fromWire.join('\n    ')}
  }
}
`;
}

/** One object of `nft -j list ruleset`: the properties that are used here. */
interface RulesetObject {
  readonly table?: { readonly family: string; readonly name: string };
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly type?: string;
    readonly policy?: string;
  };
  readonly rule?: {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly handle: number;
    readonly expr: readonly unknown[];
  };
}

/** The state of a namespace's rule set. */
export interface RulesetState {
  /** Families of our tables that are present. */
  readonly ours: readonly string[];
  /** Commands that insert the missing accept rules into others' chains. */
  readonly accepts: readonly string[];
  /** Commands that delete our accept rules from others' chains. */
  readonly withdrawals: readonly string[];
}

const DIRECTIONS = ['iifname', 'oifname'] as const;

/** What has to be changed in a namespace's rule set. @param json output of `nft -j list ruleset` */
export function readRuleset(json: string): RulesetState {
  const objects = (JSON.parse(json) as { nftables: readonly RulesetObject[] }).nftables;
  const ours = objects.flatMap(({ table }) => (table?.name === NFT_TABLE ? [table.family] : []));
  const rules = objects.flatMap(({ rule }) => (rule ? [rule] : []));
  const accepts: string[] = [];
  const withdrawals: string[] = [];
  for (const { chain } of objects) {
    if (chain?.hook !== 'forward' || chain.type !== 'filter' || !['ip', 'inet'].includes(chain.family)) continue;
    const inTable = rules.filter(({ family, table }) => family === chain.family && table === chain.table);
    const drops =
      chain.policy === 'drop' || inTable.some(({ expr }) => /"(drop|reject|queue)"/.test(JSON.stringify(expr)));
    const mine = inTable.filter((rule) => rule.chain === chain.name && acceptedDirection(rule.expr) !== undefined);
    const where = `${chain.family} ${chain.table} ${chain.name}`;
    for (const { handle } of mine) withdrawals.push(`delete rule ${where} handle ${handle}`);
    const present = new Set(mine.map(({ expr }) => acceptedDirection(expr)));
    for (const direction of drops ? DIRECTIONS : []) {
      if (!present.has(direction)) accepts.push(`insert rule ${where} ${direction} "${HOST_DEVICE}" counter accept`);
    }
  }
  return { ours, accepts, withdrawals };
}

/** The command whose output readRuleset reads. */
export const LIST_RULESET = ['nft', ['-j', 'list', 'ruleset']] as const;
/** Limit of that output. kube-proxy's rules for thousands of services take tens of megabytes. */
export const MAX_RULESET_BYTES: number = 256 << 20;

/** Remove our rules from all chains, and our own table. */
export function removeFirewallRules(): void {
  const [program, args] = LIST_RULESET;
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: MAX_RULESET_BYTES });
  if (status !== 0) return;
  const { withdrawals } = readRuleset(stdout);
  nft([...withdrawals, `table ip ${NFT_TABLE}`, `delete table ip ${NFT_TABLE}`, ''].join('\n'));
}

/** The direction (`iifname` or `oifname`) in which a rule accepts all packets of dp0; undefined for any other rule. */
function acceptedDirection(expr: readonly unknown[]): string | undefined {
  const essential = expr.filter((one) => !((one as object) && 'counter' in (one as object)));
  const text = JSON.stringify(essential);
  return DIRECTIONS.find(
    (key) =>
      text === JSON.stringify([{ match: { op: '==', left: { meta: { key } }, right: HOST_DEVICE } }, { accept: null }]),
  );
}
