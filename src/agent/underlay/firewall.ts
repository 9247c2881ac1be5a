/**
 * Coexistence with a node's firewall. Packets that the data plane forwards bypass the kernel's conntrack, which sees
 * only one direction of most connections and would classify their packets as invalid. Chains that drop forwarded packets
 * get a rule in front that accepts dp0's, as flannel does.
 *
 * Read before editing: linux net/ipv4/netfilter/nf_defrag_ipv4.c (untracked fragments are left alone), net/netfilter/
 * nft_ct.c (notrack); flannel pkg/trafficmngr/iptables (the accepts).
 */
import { PRIVILEGED_PORTS } from '../../../native-free-dataplane/node/config.ts';
import { PROTOCOL_ICMP } from '../../../native-free-dataplane/protocols.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { listRuleset, rulesetObjects } from '../../linux/nft-ruleset.ts';
import type { RoutedPort } from './host-options.ts';
import { hostPortMatches } from './host-port-matches.ts';
import { ROUTED_WHOLE } from './host-rules.ts';
import { keptRules } from './kept-flows.ts';
import { HOST_DEVICE } from './rule-order.ts';
import { NFT_TABLE, nft } from './shortcut.ts';

/** Priority before the kernel reassembles fragments for tracking (NF_IP_PRI_CONNTRACK_DEFRAG is -400). */
const BEFORE_REASSEMBLY = -450;
/** Priority before tracking (NF_IP_PRI_CONNTRACK is -200; NF_IP_PRI_RAW is -300). */
const BEFORE_TRACKING = -300;

/** What must bypass the kernel's conntrack. */
export interface NotTracked {
  readonly localAddresses: readonly string[];
  /** Networks of pods and services. */
  readonly clusterNetworks: readonly string[];
  /** External and load-balancer addresses of services. */
  readonly serviceAddresses: readonly string[];
  /** nft matches for the overlay packets that are received through dp0. */
  readonly overlayMatches: readonly string[];
  /** Ports of pods on addresses of the node. */
  readonly hostPorts: readonly RoutedPort[];
  readonly nodePortRange: readonly [number, number];
  readonly masqueradePorts: readonly [number, number];
  /** Connections that the kernel goes on translating (kept-flows.ts). */
  readonly kept: readonly string[];
  /** Of dp0. */
  readonly mtu: number;
}

/**
 * The `notrack` rules, as input of `nft -f`. Two kinds of packets stay tracked. Those that the node's own sockets send
 * and receive through dp0, because the node's firewall may match on their connection state. And those between an
 * address of a pod or service and one outside the cluster: the data plane masquerades its connections, so these are
 * connections that the node's own rules translated (a port published by Docker, a DNAT to a pod), or that a router sends
 * here. The kernel sees both of their directions.
 */
export function untrackedRules(options: NotTracked): string {
  const { localAddresses, clusterNetworks, overlayMatches } = options;
  const ranges = [PRIVILEGED_PORTS, options.nodePortRange, options.masqueradePorts]
    .map(([low, high]) => `${low}-${high}`)
    .join(', ');
  const local = `ip daddr { ${localAddresses.join(', ')} }`;
  const ports = `${local} meta l4proto { tcp, udp, sctp } th dport { ${ranges} }`;
  // Replies and errors to the node itself are tracked when dp0 returns them.
  const others = `${local} meta l4proto { ${[PROTOCOL_ICMP, ...ROUTED_WHOLE].join(', ')} }`;
  const cluster = clusterNetworks.join(', ');
  const networks = [...clusterNetworks, ...options.serviceAddresses].join(', ');
  const hostPorts = hostPortMatches(options.hostPorts, localAddresses);
  const fromWire = [...overlayMatches, ports, others, ...hostPorts].map(
    (match) => `iifname != { "lo", "${HOST_DEVICE}" } ${match} notrack`,
  );
  const kept = keptRules(options.kept);
  return `
table ip ${NFT_TABLE} {
  ${kept.set}
  ${kept.chain}
  chain forwarded {
    type filter hook prerouting priority ${BEFORE_REASSEMBLY}; policy accept;
    ${kept.rules}iifname "${HOST_DEVICE}" ip saddr { ${cluster} } ip daddr != { ${cluster} } accept
    iifname "${HOST_DEVICE}" fib daddr type != local notrack
    iifname != { "lo", "${HOST_DEVICE}" } ip saddr != { ${cluster} } ip daddr { ${cluster} } accept
    iifname != { "lo", "${HOST_DEVICE}" } ip daddr { ${networks} } fib daddr type != local notrack
  }
  chain for-us {
    type filter hook prerouting priority ${BEFORE_TRACKING}; policy accept;
    ${kept.rules}${fromWire.join('\n    ')}
  }
}
`;
}

/** Priority after all filters: only what is really sent is copied. */
const AFTER_FILTERS = 300;

/**
 * The rule that sends a copy of each ping of the node itself to dp0 (native-free-dataplane/stages/own-ping.ts), as input of
 * `nft -f`. Not of pings that would need fragments: the kernel sets DF in the copy, and would answer it with an error.
 */
function ownPingRules({ clusterNetworks, mtu }: NotTracked): string {
  // Any address that is routed to dp0 and does not belong to the node.
  const via = (clusterNetworks.at(-1) ?? '').split('/')[0];
  return `
table ip ${NFT_TABLE} {
  chain own-pings {
    type filter hook output priority ${AFTER_FILTERS}; policy accept;
    oifname != { "lo", "${HOST_DEVICE}" } icmp type echo-request meta length <= ${mtu} dup to ${via} device "${HOST_DEVICE}"
  }
}
`;
}

/** The state of a namespace's rule set. */
export interface RulesetState {
  /** Families of our tables that are present. */
  readonly ours: readonly string[];
  /** Commands that insert the missing accept rules into others' chains. */
  readonly accepts: readonly string[];
  /** Commands that delete our accept rules from others' chains. */
  readonly withdrawals: readonly string[];
  /** Where all packets of dp0 are dropped before any accept rule of ours could match; undefined if nowhere. */
  readonly obstacle: string | undefined;
}

/** An accept rule of ours in a chain of somebody else, in the forms that nft reads and prints. */
interface Accept {
  readonly text: string;
  readonly expr: readonly unknown[];
}

const equals = (left: object, right: string | number): object => ({ match: { op: '==', left, right } });
const ofDevice = (key: string): object => equals({ meta: { key } }, HOST_DEVICE);
const ofField = (protocol: string, field: string, value: string | number): object =>
  equals({ payload: { protocol, field } }, value);

/** Packets forwarded between dp0 and other devices. */
const FORWARDED: readonly Accept[] = ['iifname', 'oifname'].map((key) => ({
  text: `${key} "${HOST_DEVICE}"`,
  expr: [ofDevice(key)],
}));

/**
 * DNS queries of pods to the node's own name server. A firewall that rejects unknown incoming packets, such as ufw, would
 * otherwise leave all pods of the node without DNS, which it does not do where the server runs in a pod.
 */
function toNameServer(address: string): Accept[] {
  return ['udp', 'tcp'].map((protocol) => ({
    text: `iifname "${HOST_DEVICE}" ip daddr ${address} ${protocol} dport ${DNS_PORT}`,
    expr: [ofDevice('iifname'), ofField('ip', 'daddr', address), ofField(protocol, 'dport', DNS_PORT)],
  }));
}

/** The accept rules that a chain needs if it or its table drops anything. */
function neededIn(hook: string, nameServer: string | undefined): readonly Accept[] {
  if (hook === 'forward') return FORWARDED;
  return hook === 'input' && nameServer !== undefined ? toNameServer(nameServer) : [];
}

/**
 * What has to be changed in a namespace's rule set.
 * @param json output of `nft -j list ruleset`
 * @param nameServer address of the node's own name server, if it has one
 */
export function readRuleset(json: string, nameServer?: string): RulesetState {
  const objects = rulesetObjects(json);
  const ours = objects.flatMap(({ table }) => (table?.name === NFT_TABLE ? [table.family] : []));
  const rules = objects.flatMap(({ rule }) => (rule ? [{ ...rule, expr: rule.expr ?? [] }] : []));
  const accepts: string[] = [];
  const withdrawals: string[] = [];
  let obstacle: string | undefined;
  for (const { chain } of objects) {
    if (chain?.hook === undefined || chain.table === NFT_TABLE || chain.type !== 'filter') continue;
    const where = `${chain.family} ${chain.table} ${chain.name}`;
    const inTable = rules.filter(({ family, table }) => family === chain.family && table === chain.table);
    const inChain = inTable.filter((rule) => rule.chain === chain.name);
    if (chain.hook !== 'forward' && inChain.some(({ expr }) => dropsDp0(expr))) {
      obstacle ??= `${where} drops all packets of ${HOST_DEVICE}`;
    }
    if (!['ip', 'inet'].includes(chain.family)) continue;
    const drops =
      chain.policy === 'drop' || inTable.some(({ expr }) => /"(drop|reject|queue)"/.test(JSON.stringify(expr)));
    const needed = neededIn(chain.hook, nameServer);
    for (const { handle, expr } of inChain) {
      if (needed.some((one) => isAccept(expr, one))) withdrawals.push(`delete rule ${where} handle ${handle}`);
    }
    for (const one of drops ? needed : []) {
      const present = inChain.some(({ expr }) => isAccept(expr, one));
      if (!present) accepts.push(`insert rule ${where} ${one.text} counter accept`);
    }
  }
  return { ours, accepts, withdrawals, obstacle };
}

/** Does a rule drop or reject all packets that come in or go out by dp0? */
function dropsDp0(expr: readonly unknown[]): boolean {
  const [match, verdict, ...more] = withoutCounters(expr);
  const isDp0 = FORWARDED.some((one) => JSON.stringify(match) === JSON.stringify(one.expr[0]));
  return isDp0 && more.length === 0 && /^\{"(drop|reject)"/.test(JSON.stringify(verdict ?? null));
}

function withoutCounters(expr: readonly unknown[]): unknown[] {
  return expr.filter((one) => !(one !== null && typeof one === 'object' && 'counter' in one));
}

function isAccept(expr: readonly unknown[], one: Accept): boolean {
  return JSON.stringify(withoutCounters(expr)) === JSON.stringify([...one.expr, { accept: null }]);
}

/** Commands that install our own table, replacing a previous one. */
export function firewallCommands(options: NotTracked): FirewallCommands {
  return {
    needed: `table ip ${NFT_TABLE}\ndelete table ip ${NFT_TABLE}\n${untrackedRules(options)}`,
    // Kernels without nf_dup_ipv4 refuse this; the rest works without it.
    wanted: ownPingRules(options),
  };
}

/** Input of `nft -f`: what is needed, and what follows it if the kernel accepts it. */
export interface FirewallCommands {
  readonly needed: string;
  readonly wanted: string;
}

/** @returns whether what is needed could be installed */
export function installFirewallRules({ needed, wanted }: FirewallCommands): boolean {
  if (nft(needed) !== undefined) return false;
  nft(wanted);
  return true;
}

/** Remove our rules from all chains, and our own table. */
export function removeFirewallRules(nameServer?: string): void {
  const ruleset = listRuleset();
  if (ruleset === undefined) return;
  const { withdrawals } = readRuleset(ruleset, nameServer);
  nft([...withdrawals, `table ip ${NFT_TABLE}`, `delete table ip ${NFT_TABLE}`, ''].join('\n'));
}
