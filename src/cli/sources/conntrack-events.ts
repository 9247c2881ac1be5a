/** What happens to a node's connections, as it happens: reads the ring that its workers write while somebody follows. */

import {
  EVENT_RECORD,
  EventKind,
  eventHead,
  follow,
  NOT_YET,
  OVERTAKEN,
  readEvent,
} from '../../../native-free-dataplane/conntrack/events.ts';
import { EVENT_WORDS } from '../../../native-free-dataplane/conntrack/record.ts';
import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { flowText, nodesWithFlows, withTable } from './conntrack.ts';

export interface FlowEvent {
  readonly node: string;
  readonly kind: 'NEW' | 'UPDATE' | 'DESTROY';
  readonly flow: FlowText;
}

const KINDS = { [EventKind.NEW]: 'NEW', [EventKind.UPDATE]: 'UPDATE', [EventKind.DESTROY]: 'DESTROY' } as const;

/** How often the ring is looked at, and how often a follower says that it is still there, milliseconds. */
const LOOK_MS = 20;
const RENEW_MS = 1000;

/**
 * Hand over a node's events until `ended`, or until the node is gone.
 * @param missed told how many events were overwritten before they could be read
 * @throws CliError as withTable
 */
export function followFlows(
  node: string,
  ended: AbortSignal,
  event: (event: FlowEvent) => void,
  missed: (count: number) => void,
): Promise<void> {
  return withTable(node, async (table) => {
    const copy = new Int32Array(EVENT_WORDS);
    const doubles = new Float64Array(copy.buffer);
    let renewed = 0;
    let next = eventHead(table);
    while (!ended.aborted) {
      const nowMs = monotonicMs();
      if (nowMs - renewed >= RENEW_MS) {
        if (!nodesWithFlows().includes(node)) return;
        follow(table, nowMs);
        renewed = nowMs;
      }
      for (;;) {
        const kind = readEvent(table, next, copy);
        if (kind === NOT_YET) break;
        if (kind === OVERTAKEN) {
          const head = eventHead(table);
          missed((head - next) | 0);
          next = head;
          break;
        }
        next = (next + 1) | 0;
        const name = KINDS[kind as EventKind];
        event({ node, kind: name, flow: flowText(table, copy, doubles, EVENT_RECORD, nowMs) });
      }
      await pause(LOOK_MS, ended);
    }
  });
}

function pause(milliseconds: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      ended.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    ended.addEventListener('abort', done);
  });
}
