/** The last packets that did not arrive, of each node, as flows with names. */
import type { Pod } from '../../api/types/objects.ts';
import type { Flow } from '../../observe/hubble/flow.ts';
import { nodesWithFlows } from './conntrack.ts';
import { dropEvents } from './drop-events.ts';
import { flowsOfEvents } from './flow-maker.ts';
import { openFlowNames } from './flow-names.ts';
import { pastEvents } from './follow-events.ts';

/** How many are shown for each node. */
const LAST = 10;

/**
 * By node, oldest first. Addresses have no names if the API does not answer.
 * @param wanted only such packets; default all
 */
export async function readLastDrops(wanted: (flow: Flow) => boolean = () => true): Promise<LastDrops> {
  const names = await openFlowNames();
  const flowsOf = flowsOfEvents(names, []);
  const found = new Map<string, readonly Flow[]>();
  for (const node of nodesWithFlows()) {
    const sources = dropEvents([node]);
    // The packet itself, without the verdict of a policy before it.
    const flows = pastEvents(sources).flatMap((event) => flowsOf(event).slice(-1));
    found.set(node, flows.filter(wanted).slice(-LAST));
    for (const source of sources) source.close();
  }
  names.close();
  return found;
}

export type LastDrops = ReadonlyMap<string, readonly Flow[]>;

/** The last packets from or to a pod that the nodes of this machine dropped, oldest first. */
export async function lastDropsOf({ metadata, status }: Pod): Promise<readonly Flow[]> {
  const { name, namespace = 'default' } = metadata;
  const drops = await readLastDrops(
    ({ IP, source, Summary }) =>
      // Neighbour discovery, which every pod's kernel sends.
      !Summary.startsWith('ipv6-not-forwarded') &&
      ((source?.pod_name === name && source.namespace === namespace) ||
        (status?.podIP !== undefined && IP?.destination === status.podIP)),
  );
  const all = [...drops.values()].flat();
  return all.sort((a, b) => Date.parse(a.time) - Date.parse(b.time)).slice(-LAST);
}
