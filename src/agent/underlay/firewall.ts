/**
 * Beside the firewalls of a node. What we forward is not tracked by the kernel's conntrack, which sees one direction of a
 * connection only and would call its packets invalid; and where others drop what is forwarded, dp0's frames are accepted
 * before their rules are asked, as flannel does it.
 *
 * Read before editing: linux net/ipv4/netfilter/nf_defrag_ipv4.c (untracked fragments are left alone), net/netfilter/
 * nft_ct.c (notrack); flannel pkg/trafficmngr/iptables (the accepts).
 */
import { spawnSync } from 'node:child_process';
import { HOST_DEVICE } from './rule-order.ts';
import { NFT_TABLE, nft } from './shortcut.ts';

/** Before the kernel reassembles fragments for its tracking (NF_IP_PRI_CONNTRACK_DEFRAG is -400). */
const BEFORE_REASSEMBLY = -450;
/** Before it tracks (NF_IP_PRI_CONNTRACK is -200; NF_IP_PRI_RAW is -300). */
const BEFORE_TRACKING = -300;

export interface NotTracked {
  readonly localAddresses: readonly string[];
  /** Networks whose packets are routed to dp0. */
  readonly networks: readonly string[];
  /** What of the overlay comes in by dp0, as nft matches. */
  readonly overlayMatches: readonly string[];
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
}

/**
 * The rules that keep conntrack off, as `nft -f` reads them. What the node's own sockets send and receive by dp0 stays
 * tracked: its firewall may want to know the answers.
 */
export function untrackedRules(options: NotTracked): string {
  const { localAddresses, networks, overlayMatches } = options;
  const ranges = [options.nodePortRange, options.masqueradePorts].map(([low, high]) => `${low}-${high}`).join(', ');
  const ports = `ip daddr { ${localAddresses.join(', ')} } meta l4proto { tcp, udp, sctp } th dport { ${ranges} }`;
  const fromWire = [...overlayMatches, ports].map((match) => `iifname != { "lo", "${HOST_DEVICE}" } ${match} notrack`);
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

/** One object of `nft -j list ruleset`, as far as it is read here. */
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

export interface RulesetState {
  /** Tables of ours that are there, as `family`. */
  readonly ours: readonly string[];
  /** Commands that put accepts in front of others' rules. */
  readonly accepts: readonly string[];
  /** Commands that take ours away from others' chains. */
  readonly withdrawals: readonly string[];
}

const DIRECTIONS = ['iifname', 'oifname'] as const;

/** What a namespace's rule set asks of us. @param json `nft -j list ruleset` */
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
    const mine = inTable.filter((rule) => rule.chain === chain.name && acceptsOurs(rule.expr) !== undefined);
    const where = `${chain.family} ${chain.table} ${chain.name}`;
    for (const { handle } of mine) withdrawals.push(`delete rule ${where} handle ${handle}`);
    const present = new Set(mine.map(({ expr }) => acceptsOurs(expr)));
    for (const direction of drops ? DIRECTIONS : []) {
      if (!present.has(direction)) accepts.push(`insert rule ${where} ${direction} "${HOST_DEVICE}" counter accept`);
    }
  }
  return { ours, accepts, withdrawals };
}

/** `nft` and its arguments: what readRuleset reads. */
export const LIST_RULESET = ['nft', ['-j', 'list', 'ruleset']] as const;
/** A node with thousands of kube-proxy's services has tens of megabytes of rules. */
export const MAX_RULESET_BYTES: number = 256 << 20;

/** Take our rules out of everybody's chains, and our own table away. */
export function leaveFirewall(): void {
  const [program, args] = LIST_RULESET;
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: MAX_RULESET_BYTES });
  if (status !== 0) return;
  const { withdrawals } = readRuleset(stdout);
  nft([...withdrawals, `table ip ${NFT_TABLE}`, `delete table ip ${NFT_TABLE}`, ''].join('\n'));
}

/** Does a rule accept all that comes in or goes out by dp0? Which of the two; undefined when it does something else. */
function acceptsOurs(expr: readonly unknown[]): string | undefined {
  const essential = expr.filter((one) => !((one as object) && 'counter' in (one as object)));
  const text = JSON.stringify(essential);
  return DIRECTIONS.find(
    (key) =>
      text === JSON.stringify([{ match: { op: '==', left: { meta: { key } }, right: HOST_DEVICE } }, { accept: null }]),
  );
}
