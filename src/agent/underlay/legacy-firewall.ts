/**
 * The rules of iptables-legacy. nftables does not list them, and the kernel does not announce their changes, so they are read
 * once a second on nodes that have any. Where they drop forwarded packets, or DNS queries of pods to the node's own name
 * server, accept rules are inserted before them, as in nftables (firewall.ts).
 *
 * linux net/netfilter/x_tables.c: /proc/net/ip_tables_names lists the tables of the namespace.
 */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { DNS_PORT } from '../../api/cluster-options.ts';
import { HOST_DEVICE } from './rule-order.ts';

/** Where the kernel lists the tables of each. */
const TABLES = {
  'iptables-legacy': '/proc/thread-self/net/ip_tables_names',
  'ip6tables-legacy': '/proc/thread-self/net/ip6_tables_names',
} as const;
const PROGRAM = 'iptables-legacy';
/** Rules of thousands of services. */
const MAX_SAVED_BYTES = 256 << 20;
/** Wait for the lock that every iptables holds while it changes rules, seconds. */
const WAIT: readonly string[] = ['-w', '1'];

/** What has to be changed in the rules of iptables-legacy. */
export interface LegacyState {
  /** Arguments of iptables that insert the missing accept rules. */
  readonly accepts: readonly (readonly string[])[];
  /** Arguments that delete our accept rules. */
  readonly withdrawals: readonly (readonly string[])[];
  /** Rule that drops all packets of dp0 before any accept rule of ours could match; undefined if there is none. */
  readonly obstacle: string | undefined;
}

/** Our accept rules by chain, as iptables prints them. */
function acceptsOf(nameServer: string | undefined): Readonly<Record<string, readonly string[]>> {
  const toServer = (protocol: string): string =>
    `-d ${nameServer}/32 -i ${HOST_DEVICE} -p ${protocol} -m ${protocol} --dport ${DNS_PORT} -j ACCEPT`;
  return {
    FORWARD: [`-i ${HOST_DEVICE} -j ACCEPT`, `-o ${HOST_DEVICE} -j ACCEPT`],
    INPUT: nameServer === undefined ? [] : [toServer('udp'), toServer('tcp')],
  };
}

const DROPS = / -j (DROP|REJECT|NFQUEUE)\b/;
const DROPS_OURS = new RegExp(`^-A \\S+ -[io] ${HOST_DEVICE} -j (DROP|REJECT)\\b`);

/**
 * What has to be changed.
 * @param saved output of `iptables-legacy-save`
 * @param nameServer address of the node's own name server, if it has one
 */
export function readLegacy(saved: string, nameServer?: string): LegacyState {
  const accepts: string[][] = [];
  const withdrawals: string[][] = [];
  let obstacle: string | undefined;
  for (const table of saved.split(/^\*/m).slice(1)) {
    const lines = table.split('\n');
    const name = lines[0] ?? '';
    const found = lines.find((line) => DROPS_OURS.test(line) && !(name === 'filter' && line.startsWith('-A FORWARD ')));
    if (found !== undefined) obstacle ??= `iptables-legacy, table ${name}: ${found}`;
    if (name !== 'filter') continue;
    for (const [chain, rules] of Object.entries(acceptsOf(nameServer))) {
      const drops = lines.some((line) => line.startsWith(`:${chain} DROP`) || DROPS.test(line));
      for (const rule of rules) {
        const present = lines.includes(`-A ${chain} ${rule}`);
        if (present) withdrawals.push(['-D', chain, ...rule.split(' ')]);
        else if (drops) accepts.push(['-I', chain, ...rule.split(' ')]);
      }
    }
  }
  return { accepts, withdrawals, obstacle };
}

/** One of the two programs. */
export type LegacyProgram = keyof typeof TABLES;

/** Are there any tables of iptables-legacy in this namespace? */
export function hasLegacyTables(program: LegacyProgram = PROGRAM): boolean {
  try {
    return readFileSync(TABLES[program], 'latin1').trim() !== '';
  } catch {
    return false;
  }
}

/** Insert missing accept rules. Does nothing if the program is not installed. @throws Error naming the rule in the way */
export async function ensureLegacyAccepts(nameServer?: string): Promise<void> {
  const run = promisify(execFile);
  let saved: string;
  try {
    saved = (await run(`${PROGRAM}-save`)).stdout;
  } catch {
    return;
  }
  const { accepts, obstacle } = readLegacy(saved, nameServer);
  for (const words of accepts) await run(PROGRAM, [...WAIT, ...words]);
  if (obstacle !== undefined) throw new Error(`a firewall is in the way: ${obstacle}`);
}

/** Output of `iptables-legacy-save`; empty if there are no rules, or the program is not installed. */
export function savedLegacyRules(program: LegacyProgram = PROGRAM): string {
  if (!hasLegacyTables(program)) return '';
  const { status, stdout } = spawnSync(`${program}-save`, { encoding: 'utf8', maxBuffer: MAX_SAVED_BYTES });
  return status === 0 ? stdout : '';
}

/** Delete our accept rules. */
export function removeLegacyAccepts(nameServer?: string): void {
  for (const words of readLegacy(savedLegacyRules(), nameServer).withdrawals) spawnSync(PROGRAM, [...WAIT, ...words]);
}
