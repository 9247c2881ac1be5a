/** The kernel's rule sets at scale, on one node with a bridge. `iptables-restore` of Debian writes nftables rules in iptables'
 * shape; the older `iptables-legacy-restore` is measured beside it, because clusters run on both. */
import { POD_CIDR } from '../contenders/contender.ts';
import { addKernelPods, addUnderlay, namesFor, nodeIp, removeNetwork } from '../contenders/kernel-network.ts';
import { iptablesChange, iptablesRules } from '../kube-proxy/iptables-rules.ts';
import { nftablesChange, nftablesRules } from '../kube-proxy/nftables-rules.ts';
import { inside, removeNetns } from '../lib/netns.ts';
import { finish } from '../lib/processes.ts';
import { missing } from '../lib/tools.ts';
import type { ScalingPlan } from './plan.ts';
import type { Scaled } from './scaled.ts';

const CHANGE_LIMIT_MS = 120_000;
/** Size of the text passed to a restore program at once; Node's strings are limited to 512 MiB. */
const CHUNK_BYTES = 1 << 20;

export function scaledKernel(): Scaled[] {
  const restore = (program: string, name: string, title: string): Scaled =>
    kernel(name, title, program, {
      rules: (plan) => iptablesRules(plan.services, POD_CIDR),
      change: (plan) => iptablesChange(plan.change, POD_CIDR),
      load: [program],
      apply: [program, '--noflush'],
    });
  return [
    restore('iptables-restore', 'iptables', 'iptables (nft backend)'),
    restore('iptables-legacy-restore', 'iptables-legacy', 'iptables (legacy)'),
    kernel('nftables', 'nftables', 'nft', {
      rules: (plan) => nftablesRules(plan.services, POD_CIDR, nodeIp(0)),
      change: (plan) => nftablesChange(plan.change, POD_CIDR),
      load: ['nft', '-f', '-'],
      apply: ['nft', '-f', '-'],
    }),
  ];
}

interface RuleSet {
  rules(plan: ScalingPlan): Generator<string>;
  change(plan: ScalingPlan): string;
  load: string[];
  apply: string[];
}

function kernel(name: string, title: string, program: string, set: RuleSet): Scaled {
  const names = namesFor(`scale-${name}`);
  const node = names.nodes[0];
  return {
    name,
    title,
    about: "kube-proxy's own rules, one node, veth + bridge",
    unavailable: () => missing(['ip', 'bridge', program]),
    async up() {
      addUnderlay(names);
      addKernelPods(names);
      removeNetns(names.pods.c);
      return { client: names.pods.a, server: names.pods.b, serverIp: '10.244.1.3' };
    },
    async load(plan, limitMs) {
      const begin = performance.now();
      await feed(inside(node, ...set.load), set.rules(plan), limitMs);
      return performance.now() - begin;
    },
    async apply(plan) {
      await feed(inside(node, ...set.apply), [set.change(plan)], CHANGE_LIMIT_MS);
    },
    async down() {
      removeNetwork(names);
    },
  };
}

async function feed(words: string[], parts: Iterable<string>, limitMs: number): Promise<void> {
  const result = await finish(words, limitMs, chunks(parts));
  if (result.status !== 0)
    throw new Error(result.stderr.trim().split('\n').slice(-2).join(' ').slice(-300) || 'refused');
}

function* chunks(parts: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const part of parts) {
    chunk += part;
    if (chunk.length >= CHUNK_BYTES) {
      yield chunk;
      chunk = '';
    }
  }
  if (chunk) yield chunk;
}
