/** Network policies of a large cluster, from scratch and after one change, until they are in force. */
import { activeImageBytes, createPolicies, policyBytes } from '../../native-free-dataplane/policies/table.ts';
import type { NetworkPolicy } from '../../src/api/types/network-policy.ts';
import { parsePolicy } from '../../src/compile/policies/parse-policy.ts';
import { median, quantile } from '../lib/statistics.ts';
import { apply, type Held, held, pod, policy, SECRET } from './lib/policies.ts';
import type { Fact } from './lib/results.ts';

const PODS = 10_000;
const POLICIES = 1000;
const APPS = 10;

export function measure(): Fact[] {
  const options = { secret: SECRET };
  const table = createPolicies(new ArrayBuffer(policyBytes()), options);
  const scratch: number[] = [];
  let big = held(table, POLICIES, PODS);
  for (let round = 0; round < 3; round++) {
    big = held(table, POLICIES, PODS);
    const begin = performance.now();
    apply(big);
    scratch.push(performance.now() - begin);
  }
  const rules = big.policies.reduce((sum, { ingress }) => sum + (ingress?.length ?? 0), 0);
  const what = `${PODS} pods, ${POLICIES} policies`;
  return [
    { name: `${what}: from scratch, in force`, value: median(scratch), unit: 'ms' },
    { name: `${what}: image`, value: activeImageBytes(table) / 1024, unit: 'KiB' },
    { name: `${what}: image without its pods, for each rule`, value: imageBytesOfRules(big) / rules, unit: 'bytes' },
    ...changes(`${what}: one policy changes`, big, ({ policies }, turn) => {
      policies[turn % POLICIES] = policy(turn % POLICIES, 10_000 + turn);
    }),
    ...changes(`${what}: one pod gets another label`, big, (all, turn) => {
      const pods = all.pods.slice();
      pods[turn % PODS] = pod((turn % PODS) + 1024, `app-${turn % APPS}`);
      all.pods = pods;
    }),
    ...changes(`${what}: one policy with a new network`, big, ({ policies }, turn) => {
      const { ingress, ...rest } = policy(turn % POLICIES);
      const cidr = `172.${16 + (turn & 15)}.${turn >>> 4}.0/24`;
      const more = parsePolicy({
        metadata: { name: 'x' },
        spec: { ingress: [{ from: [{ ipBlock: { cidr } }] }] },
      } as unknown as NetworkPolicy);
      policies[turn % POLICIES] = { ...rest, ingress: [...(ingress ?? []), ...(more.ingress ?? [])] };
    }),
  ];
}

/** What the image has besides the table of pods. */
function imageBytesOfRules({ table, policies }: Held): number {
  const before = activeImageBytes(table);
  const options = { secret: SECRET };
  const empty = createPolicies(new ArrayBuffer(policyBytes()), options);
  const none = held(empty, 1, PODS);
  apply(none);
  return (before - activeImageBytes(empty)) * (policies.length / (policies.length - 1));
}

function changes(what: string, big: Held, change: (big: Held, turn: number) => void): Fact[] {
  const times: number[] = [];
  for (let turn = 0; turn < 200; turn++) {
    change(big, turn);
    const begin = performance.now();
    apply(big);
    times.push(performance.now() - begin);
  }
  return [
    { name: `${what}, in force: first decile`, value: quantile(times, 0.1), unit: 'ms' },
    { name: `${what}, in force: median`, value: quantile(times, 0.5), unit: 'ms' },
  ];
}
