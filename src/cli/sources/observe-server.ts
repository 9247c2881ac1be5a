/** `dataplane observe --serve`: Hubble's observer service for the flows of this machine's nodes, until it is ended. */
import { chmodSync, rmSync } from 'node:fs';
import { FlowStore, type LogOptions } from '../../observe/hubble/server/flow-store.ts';
import { ObserverServer } from '../../observe/hubble/server/observer.ts';
import { failed } from '../errors.ts';
import { readVersion } from '../version.ts';
import { connectionEvents, type FlowEvent } from './conntrack-events.ts';
import { type DropEvent, dropEvents } from './drop-events.ts';
import { flowsOfEvents } from './flow-maker.ts';
import type { FlowNames } from './flow-names.ts';
import { type EventSource, followEvents } from './follow-events.ts';
import { type MessageEvent, messageEvents } from './message-events.ts';

/** How often the log on disk is written, at least, in milliseconds. */
const FLUSH_MS = 1000;

export interface ServeRequest {
  /** HOST:PORT on the loopback, or unix:PATH. */
  readonly address: string;
  readonly log: LogOptions | undefined;
  readonly nodes: readonly string[];
  /** Also HTTP. */
  readonly http: boolean;
  readonly names: FlowNames;
  readonly started: () => void;
  readonly note: (text: string) => void;
}

/** @throws CliError if the address cannot be listened on */
export async function serveFlows(request: ServeRequest, ended: AbortController): Promise<void> {
  const { address, log, nodes, http, names, started, note } = request;
  const store = openStore(log && { ...log, onFailure: note });
  const addressOf = (name: string): string => names.addresses.addressOfNode(name) ?? name;
  const server = new ObserverServer({
    store,
    version: readVersion(),
    nodes: () => nodes.map((name) => ({ name, address: addressOf(name) })),
  });
  const path = address.startsWith('unix:') ? address.slice('unix:'.length) : undefined;
  if (path !== undefined) rmSync(path, { force: true });
  try {
    await server.listen(address);
  } catch (error) {
    throw failed(`${address} cannot be listened on: ${(error as Error).message}`, 'give another address');
  }
  if (path !== undefined) chmodSync(path, 0o600);
  started();
  const flowsOf = flowsOfEvents(names, nodes);
  const sources: EventSource<FlowEvent | DropEvent | MessageEvent>[] = [
    ...connectionEvents(nodes),
    ...dropEvents(nodes),
    ...messageEvents(nodes, { http, note }),
  ];
  const timer = setInterval(() => store.flush(), FLUSH_MS);
  const add = (event: FlowEvent | DropEvent | MessageEvent): void => {
    for (const flow of flowsOf(event)) store.add(flow);
  };
  try {
    await followEvents(sources, {
      ended: ended.signal,
      onPast: (events) => events.forEach(add),
      onEvent: add,
      onMissed: (node, count) =>
        note(`node ${node}: ${count} events were lost, because they came faster than they can be read`),
    });
  } finally {
    clearInterval(timer);
    store.flush();
    server.close();
    if (path !== undefined) rmSync(path, { force: true });
  }
}

function openStore(log: LogOptions | undefined): FlowStore {
  try {
    return new FlowStore(log);
  } catch (error) {
    throw failed(`${log?.directory} cannot be used for flows: ${(error as Error).message}`);
  }
}
