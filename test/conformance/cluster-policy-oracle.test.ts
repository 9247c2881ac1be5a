/**
 * ClusterNetworkPolicy and NetworkPolicy together, against an engine that nobody here wrote: policy-assistant of Kubernetes'
 * network policy group (network-policy-api, cmd/policy-assistant). It knows the tiers as v1alpha1 has them: AdminNetworkPolicies
 * by priority, then NetworkPolicies, then one BaselineAdminNetworkPolicy. Random policies are written in both forms.
 *
 * A pod that connects to itself is left out: there it is judged like any other; here it is allowed, and never leaves the pod.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ClusterNetworkPolicy } from '../../src/api/types/cluster-network-policy.ts';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import { clientTest } from '../lib/client-program.ts';
import { agreedClusterPolicies, agreedPolicy, asV1alpha1, withoutPortNames } from '../lib/policies/agreed-policies.ts';
import type { Situation, Traffic } from '../lib/policies/evaluator.ts';
import { randomSituation, randomTraffic } from '../lib/policies/generator.ts';
import { type TableVerdict, TableVerdicts } from '../lib/policies/table-verdicts.ts';
import { seededRandom } from '../lib/seeded-random.ts';

const test = suite('cluster policy oracle');
const SETS = Number(process.env.POLICY_ORACLE_SETS ?? 300);
const SEED = Number(process.env.POLICY_SEED ?? 1);
const CONNECTIONS = 60;
/** In place of the name of a port. */
const NAMED_PORT = 81;

interface Policies {
  readonly policies: readonly NetworkPolicy[];
  readonly clusterPolicies: readonly ClusterNetworkPolicy[];
}

/** An end of a connection as its command reads it; without Internal it is outside of the cluster. */
function peer(ip: string, { pods, namespaces }: Situation): object {
  const pod = pods.find((one) => one.ip === ip);
  if (pod === undefined) return { IP: ip };
  const { labels, namespace } = pod;
  return { IP: ip, Internal: { PodLabels: labels, NamespaceLabels: namespaces[namespace], Namespace: namespace } };
}

/** Runs `policy-assistant analyze`. @returns a verdict for each connection */
function ask(program: string, situation: Situation, { policies, clusterPolicies }: Policies, all: readonly Traffic[]) {
  const directory = mkdtempSync(join(tmpdir(), 'policy-assistant-'));
  const policyDirectory = join(directory, 'policies');
  mkdirSync(policyDirectory);
  try {
    const write = (name: string, content: unknown) => writeFileSync(join(directory, name), JSON.stringify(content));
    const asked = all.map(({ from, to, protocol, port }) => ({
      Source: peer(from, situation),
      Destination: peer(to, situation),
      Protocol: protocol,
      ResolvedPort: port,
    }));
    for (const [i, policy] of [...policies, ...clusterPolicies.map(asV1alpha1)].entries()) {
      write(`policies/${i}.json`, policy);
    }
    write('traffic.json', asked);
    const paths = ['--policy-path', policyDirectory, '--traffic-path', join(directory, 'traffic.json')];
    const args = ['analyze', '--mode', 'walkthrough', '--simplify-policies=false', ...paths];
    const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    assert.is(status, 0, stderr);
    return verdictsIn(stdout);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The verdicts of its table. A cell is empty where it has the same text as the one above. */
function verdictsIn(text: string): TableVerdict[] {
  const rows = text.split('\n').filter((line) => line.startsWith('|'));
  const cells = ['', '', '', ''];
  const verdicts: TableVerdict[] = [];
  for (const row of rows.slice(1)) {
    for (const [i, cell] of row.split('|').slice(1, 5).entries()) if (cell.trim() !== '') cells[i] = cell.trim();
    const [, verdict = '', ingress = '', egress = ''] = cells;
    const denies = (walk: string) => /\[(ANP|BANP)\] Deny|\[NPv1\] Dropped/.test(walk);
    const got = denies(egress) ? 'egress' : denies(ingress) ? 'ingress' : 'allowed';
    assert.is(verdict, got === 'allowed' ? 'Allowed' : 'Denied', row);
    verdicts.push(got);
  }
  return verdicts;
}

clientTest(test, 'POLICY_ASSISTANT', `${SETS} random sets of all three tiers, from seed ${SEED}`, async (program) => {
  const random = seededRandom(SEED).below;
  const table = new TableVerdicts();
  const seen: Record<TableVerdict, number> = { allowed: 0, egress: 0, ingress: 0 };
  let tiers = 0;
  for (let set = 0; set < SETS; set++) {
    const situation = randomSituation(random);
    const policies = situation.policies.map((one) => withoutPortNames(agreedPolicy(one), NAMED_PORT));
    const clusterPolicies = agreedClusterPolicies(situation.clusterPolicies);
    if (clusterPolicies.length > 0) tiers++;
    const traffic = Array.from({ length: CONNECTIONS }, () => randomTraffic(random, situation)).filter(
      ({ from, to, protocol }) => from !== to && protocol !== 'ICMP',
    );
    table.putInForce({ ...situation, policies: [...policies, ...clusterPolicies] });
    const verdicts = ask(program, situation, { policies, clusterPolicies }, traffic);
    assert.is(verdicts.length, traffic.length);
    for (const [i, verdict] of verdicts.entries()) {
      const got = table.answer(traffic[i]!);
      if (got !== verdict) {
        const { pods, namespaces } = situation;
        const details = { set, traffic: traffic[i], got, verdict, pods, namespaces, policies, clusterPolicies };
        assert.unreachable(JSON.stringify(details, null, 1));
      }
      seen[got]++;
    }
  }
  assert.ok(tiers > SETS / 3, `${tiers} sets with ClusterNetworkPolicies`);
  for (const [verdict, count] of Object.entries(seen)) assert.ok(count > SETS, `${verdict}: ${count}`);
});

test.run();
