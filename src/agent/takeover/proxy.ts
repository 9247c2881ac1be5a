/** kube-proxy on this node: whether it runs, what it has left, and the removal of that. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { listRuleset } from '../../linux/nft-ruleset.ts';
import { type LegacyProgram, savedLegacyRules } from '../underlay/legacy-firewall.ts';
import { nft } from '../underlay/shortcut.ts';
import { type ProxyRules, proxyRulesIn, proxyRulesSaved } from './proxy-rules.ts';

const PROGRAM = 'kube-proxy';
const LEGACY: readonly LegacyProgram[] = ['iptables-legacy', 'ip6tables-legacy'];

/** The process of kube-proxy in this network namespace; undefined if none runs. */
export function proxyProcess(): number | undefined {
  const ours = readlinkSync('/proc/thread-self/ns/net');
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== PROGRAM) continue;
      if (readlinkSync(`/proc/${pid}/ns/net`) === ours) return Number(pid);
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined;
}

/** What kube-proxy has on this node, by table. */
export function proxyRules(): readonly ProxyRules[] {
  return [
    ...proxyRulesIn(listRuleset() ?? '').rules,
    ...LEGACY.flatMap((program) => proxyRulesSaved(savedLegacyRules(program), program).rules),
  ];
}

/** Remove it: of nftables all or nothing, and then of iptables-legacy. @throws Error naming what failed */
export function removeProxyRules(): readonly ProxyRules[] {
  const ruleset = proxyRulesIn(listRuleset() ?? '');
  const why = ruleset.commands === '' ? undefined : nft(ruleset.commands);
  if (why !== undefined) throw new Error(`the rules of kube-proxy cannot be removed: ${why}`);
  const removed = [...ruleset.rules];
  for (const program of LEGACY) {
    const { rules, commands } = proxyRulesSaved(savedLegacyRules(program), program);
    if (commands === '') continue;
    const ran = spawnSync(`${program}-restore`, ['--noflush', '-w', '5'], { input: commands, encoding: 'utf8' });
    if (ran.status !== 0) {
      const reason = ran.error?.message ?? ran.stderr.trim().split('\n')[0];
      throw new Error(`the rules of kube-proxy cannot be removed: ${program}-restore: ${reason}`);
    }
    removed.push(...rules);
  }
  return removed;
}
