/** Makes flows of events: the maker with names from the API, and the clock that the nodes' times are read by. */
import { monotonicMs } from '../../linux/clock.ts';
import { FlowMaker } from '../../observe/flows/flows.ts';
import type { Flow } from '../../observe/hubble/flow.ts';
import { readVersion } from '../version.ts';
import type { FlowEvent } from './conntrack-events.ts';
import type { DropEvent } from './drop-events.ts';
import type { FlowNames } from './flow-names.ts';
import type { MessageEvent } from './message-events.ts';

/** Monotonic times are converted by one reading of both clocks. */
export function flowsOfEvents(
  names: FlowNames,
  nodes: readonly string[],
): (event: FlowEvent | DropEvent | MessageEvent) => Flow[] {
  const epochMs = Date.now() - monotonicMs();
  const maker = new FlowMaker(names, readVersion(), nodes);
  // Many events have the same millisecond: 0.7 µs of the 5 that an event takes.
  let lastMs = Number.NaN;
  let text = '';
  return (event) => {
    const atMs = Math.floor(epochMs + event.atMs);
    if (atMs !== lastMs) text = new Date(atMs).toISOString();
    lastMs = atMs;
    return maker.of(event, text);
  };
}
