/** `dataplane policy diff -f FILE`: which tracked connections the policies of a manifest would allow or deny. */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { withReplaced } from '../../api/replaced-objects.ts';
import type { KubeObject } from '../../api/types/objects.ts';
import { parseManifests, readSources } from '../../cluster/manifests/manifests.ts';
import { type ChangedConnection, changedConnections } from '../../observe/policy/diff.ts';
import type { PolicyObjects } from '../../observe/policy/explain.ts';
import type { Args } from '../args/args.ts';
import { needRoot, SilentExit, usageError } from '../errors.ts';
import { formatOf, note, print } from '../output/output.ts';
import { endsOf, livePolicies, trackedConnections } from '../sources/policies.ts';
import { namespaceOf, withClient } from '../with-client.ts';

const KINDS = ['NetworkPolicy', 'ClusterNetworkPolicy'];

export async function diffPolicies(args: Args): Promise<void> {
  const paths = args.texts('file');
  if (paths.length === 0) throw usageError('policy diff: which policies?', 'give their manifest with -f FILE');
  const json = formatOf(args.text('output'), ['json']) === 'json';
  needRoot('policy diff');
  const given = parseManifests(readSources(paths), namespaceOf(args)).map(({ object }) => object as KubeObject);
  const other = given.find(({ kind }) => !KINDS.includes(kind));
  if (other !== undefined) {
    throw usageError(
      `policy diff: ${other.kind} ${other.metadata.name} is not a policy`,
      `expected ${KINDS.join(' or ')}`,
    );
  }
  const live = await withClient(livePolicies);
  const seen = trackedConnections(live);
  const policies = withReplaced<KubeObject>(live.policies, given) as unknown as PolicyObjects['policies'];
  const changed = changedConnections(seen, endsOf(live.pods), live, { ...live, policies });
  if (json) print(JSON.stringify(changed.map(asJson), null, 2));
  else {
    for (const one of changed) print(lineOf(one));
    note(`${changed.length} of ${seen.length} connections would change`);
  }
  // As diff: 1 if there is a difference.
  if (changed.length > 0) throw new SilentExit(1);
}

function lineOf({ from, to, protocol, port, after, deniedBy }: ChangedConnection): string {
  const what = `${protocolName(protocol).toUpperCase()}${port === 0 ? '' : ` ${port}`}`;
  const change = after === 'denied' ? 'would be DENIED' : 'would be allowed, is denied';
  return `${from.text} -> ${to.text} ${what}: ${change} by ${deniedBy}`;
}

const asJson = ({ from, to, ...rest }: ChangedConnection) => ({ from: from.text, to: to.text, ...rest });
