/**
 * The rules of kube-proxy on a node, and how they are removed: its nftables tables, and its chains in the tables of
 * iptables with the rules that jump to them. kubelet's chains, and the chains of everybody else, are not among them.
 *
 * kubernetes pkg/proxy/iptables/proxier.go (names of chains, CleanupLeftovers), pkg/proxy/nftables/proxier.go
 * (kubeProxyTable). kube-proxy leaves all of this behind when it ends.
 */
import { type RulesetObject, rulesetObjects } from '../../linux/nft-ruleset.ts';

/** Not KUBE-FIREWALL, KUBE-IPTABLES-HINT and KUBE-KUBELET-CANARY, which are kubelet's. */
const PROXY_CHAIN =
  /^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|MARK-MASQ|MARK-DROP|FORWARD|PROXY-FIREWALL|PROXY-CANARY|(SVC|SVL|SEP|EXT|FW|XLB)-\w+)$/;
const PROXY_TABLE = 'kube-proxy';

/** What is removed from one table. */
export interface ProxyRules {
  /** Of nftables, as `ip nat`; or of iptables-legacy, as `iptables-legacy nat`. */
  readonly table: string;
  /** The whole table is kube-proxy's. */
  readonly whole: boolean;
  readonly chains: number;
  /** Rules in chains of others that lead to these chains. */
  readonly jumps: number;
}

export interface ProxyRemoval {
  readonly rules: readonly ProxyRules[];
  /** Commands for `nft -f`, or input of `iptables-restore --noflush`; empty if there is nothing to remove. */
  readonly commands: string;
}

/** The chain that a rule jumps or goes to. */
function targetOf({ rule }: RulesetObject): string | undefined {
  for (const statement of rule?.expr ?? []) {
    const { target } = (statement.jump ?? statement.goto ?? {}) as { target?: string };
    if (target !== undefined) return target;
  }
  return undefined;
}

/**
 * kube-proxy's rules in nftables, iptables-nft's among them.
 * @param ruleset output of `nft -j list ruleset`; empty without nft
 */
export function proxyRulesIn(ruleset: string): ProxyRemoval {
  if (ruleset === '') return { rules: [], commands: '' };
  const objects = rulesetObjects(ruleset);
  const rules: ProxyRules[] = [];
  const commands: string[] = [];
  for (const { table } of objects) {
    if (table === undefined) continue;
    const name = `${table.family} ${table.name}`;
    const chains = objects.flatMap(({ chain }) =>
      chain?.family === table.family && chain.table === table.name ? [chain.name] : [],
    );
    if (table.name === PROXY_TABLE) {
      rules.push({ table: name, whole: true, chains: chains.length, jumps: 0 });
      commands.push(`delete table ${name}`);
      continue;
    }
    const proxys = chains.filter((chain) => PROXY_CHAIN.test(chain));
    if (proxys.length === 0) continue;
    const jumps = objects.flatMap((object) => {
      const { rule } = object;
      const isHere = rule?.family === table.family && rule.table === table.name && !PROXY_CHAIN.test(rule.chain);
      return isHere && PROXY_CHAIN.test(targetOf(object) ?? '') ? [`${rule.chain} handle ${rule.handle}`] : [];
    });
    rules.push({ table: name, whole: false, chains: proxys.length, jumps: jumps.length });
    commands.push(
      ...jumps.map((jump) => `delete rule ${name} ${jump}`),
      // All are empty before the first is deleted: they jump to each other.
      ...proxys.map((chain) => `flush chain ${name} ${chain}`),
      ...proxys.map((chain) => `delete chain ${name} ${chain}`),
    );
  }
  return { rules, commands: commands.map((one) => `${one}\n`).join('') };
}

/**
 * The same for iptables-legacy.
 * @param saved output of `iptables-legacy-save`
 * @param program `iptables-legacy` or `ip6tables-legacy`
 */
export function proxyRulesSaved(saved: string, program: string): ProxyRemoval {
  const rules: ProxyRules[] = [];
  const commands: string[] = [];
  for (const text of saved.split(/^\*/m).slice(1)) {
    const lines = text.split('\n');
    const chains = lines.flatMap((line) => (line.startsWith(':') ? [line.slice(1).split(' ')[0] as string] : []));
    const proxys = chains.filter((chain) => PROXY_CHAIN.test(chain));
    if (proxys.length === 0) continue;
    const jumps = lines.filter((line) => {
      const [, chain = '', target = ''] = /^-A (\S+).* -[jg] (\S+)/.exec(line) ?? [];
      return PROXY_CHAIN.test(target) && !PROXY_CHAIN.test(chain);
    });
    rules.push({ table: `${program} ${lines[0]}`, whole: false, chains: proxys.length, jumps: jumps.length });
    commands.push(
      `*${lines[0]}`,
      // Naming a chain empties it (iptables-restore(8), with --noflush).
      ...proxys.map((chain) => `:${chain} - [0:0]`),
      ...jumps.map((jump) => jump.replace(/^-A/, '-D')),
      ...proxys.map((chain) => `-X ${chain}`),
      'COMMIT',
    );
  }
  return { rules, commands: commands.map((one) => `${one}\n`).join('') };
}
