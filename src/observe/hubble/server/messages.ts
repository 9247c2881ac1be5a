/** Flows and times as the messages of the observer service, and back. */
import type { Flow } from '../flow.ts';

export interface Timestamp {
  readonly seconds?: string | number;
  readonly nanos?: number;
}

function timestamp(time: string): Timestamp {
  const ms = Date.parse(time);
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** Milliseconds since 1970. */
export function timeMs({ seconds = 0, nanos = 0 }: Timestamp): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** A flow as the message; enums by their names, the reason by its number, for which the schema has no name. */
function flowMessage(flow: Flow): object {
  const { time, is_reply, drop_reason, drop_reason_desc: _, ...rest } = flow;
  return {
    ...rest,
    time: timestamp(time),
    ...(drop_reason !== undefined && { drop_reason, drop_reason_desc: drop_reason }),
    ...(is_reply !== undefined && { is_reply: { value: is_reply } }),
  };
}

export function flowResponse(flow: Flow): object {
  return { flow: flowMessage(flow), node_name: flow.node_name, time: timestamp(flow.time) };
}

/** LostEventSource of cilium's flow.proto. */
const HUBBLE_RING_BUFFER = 3;

export function lostResponse(count: number, node: string, time: string): object {
  return {
    lost_events: { source: HUBBLE_RING_BUFFER, num_events_lost: count },
    node_name: node,
    time: timestamp(time),
  };
}
