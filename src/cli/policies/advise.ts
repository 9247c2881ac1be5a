/** `dataplane policy advise`: NetworkPolicies that allow the tracked connections, and nothing else, as YAML. */
import { addressedPod } from '../../compile/policies/policy-objects.ts';
import { advise } from '../../observe/policy/advise.ts';
import type { Args } from '../args/args.ts';
import { needRoot } from '../errors.ts';
import { note, print, toYaml } from '../output/output.ts';
import { livePolicies, NAME_SERVER, trackedConnections } from '../sources/policies.ts';
import { namespaceOf, withClient } from '../with-client.ts';

export async function advisePolicies(args: Args): Promise<void> {
  needRoot('policy advise');
  const namespace = args.flag('all-namespaces') ? undefined : namespaceOf(args);
  const live = await withClient(livePolicies);
  const pods = live.pods.flatMap((pod) => addressedPod(pod) ?? []);
  const { policies, leftOut } = advise(trackedConnections(live), pods, {
    isIncluded: (name) => namespace === undefined || name === namespace,
    peers: [NAME_SERVER],
  });
  const documents = await Promise.all(policies.map((policy) => toYaml(policy)));
  print(documents.map((text) => text.trimEnd()).join('\n---\n'));
  if (leftOut.length === 0) return;
  note(`${leftOut.length} seen without ports (ICMP) left out: only rules for all ports could allow them`);
}
