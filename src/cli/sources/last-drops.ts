/** The last packets that did not arrive, of each node, as flows with names. */
import type { Flow } from '../../observe/hubble/flow.ts';
import { nodesWithFlows } from './conntrack.ts';
import { dropEvents } from './drop-events.ts';
import { flowsOfEvents } from './flow-maker.ts';
import { openFlowNames } from './flow-names.ts';
import { pastEvents } from './follow-events.ts';

/** How many are shown for each node. */
const LAST = 10;

/** By node, oldest first. Addresses have no names if the API does not answer. */
export async function readLastDrops(): Promise<ReadonlyMap<string, readonly Flow[]>> {
  const names = await openFlowNames();
  const flowsOf = flowsOfEvents(names, []);
  const found = new Map<string, readonly Flow[]>();
  for (const node of nodesWithFlows()) {
    const sources = dropEvents([node]);
    // The packet itself, without the verdict of a policy before it.
    found.set(
      node,
      pastEvents(sources)
        .slice(-LAST)
        .flatMap((event) => flowsOf(event).slice(-1)),
    );
    for (const source of sources) source.close();
  }
  names.close();
  return found;
}
