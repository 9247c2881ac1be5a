/** `dataplane ui`: what the page shows of the running cluster, from its API, its nodes' events and their tables. */

import type { FlowText } from '../../../native-free-dataplane/print/flow.ts';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { ApiClient } from '../../api/client/client.ts';
import { startInformer } from '../../api/client/informer.ts';
import { apiTarget } from '../../cluster/state.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { endsOfConnection, type FlowEnds } from '../../ui/flow-ends.ts';
import { LiveModel } from '../../ui/live-model.ts';
import type { NodeLoadView } from '../../ui/protocol.ts';
import { Streams, UPDATE_MS } from '../../ui/server/streams.ts';
import { topologyOf } from '../../ui/topology.ts';
import { parseFlowFilter } from '../args/flow-filter-text.ts';
import { connectionEvents, type FlowEvent } from './conntrack-events.ts';
import { type DropEvent, dropEvents } from './drop-events.ts';
import { flowsOfEvents } from './flow-maker.ts';
import { type FlowNames, openFlowNames } from './flow-names.ts';
import { type EventSource, followEvents } from './follow-events.ts';
import { LoadMeter } from './load.ts';
import { uiCalls } from './ui-calls.ts';
import { type PageRequest, readAssets, servePage } from './ui-page.ts';

/** Time between two measurements of load, in milliseconds. */
const LOAD_MS = 1000;
/** The connections with the most bytes, whose edges have a rate. */
const MOST_FLOWS = 512;
const API_MS = 3000;

export interface ClusterPageRequest extends PageRequest {
  readonly nodes: readonly string[];
}

/** Serves the page until `ended`, or until no node of the cluster is left. */
export async function serveCluster(request: ClusterPageRequest, ended: AbortController): Promise<void> {
  const assets = readAssets('page.html');
  const names = await openFlowNames();
  const client = new ApiClient(apiTarget(), { timeoutMs: API_MS, program: 'dataplane' });
  const model = new LiveModel();
  const meter = new LoadMeter();
  const watch = watchTopology(client, model);
  const timers = [
    setInterval(() => {
      watch.apply();
      model.tick(monotonicMs());
    }, UPDATE_MS),
    setInterval(() => measure(meter, model, names), LOAD_MS),
  ];
  const streams = new Streams(model, parseFlowFilter);
  const calls = uiCalls(client);
  try {
    await Promise.all([
      servePage(request, { assets, streams, calls }, ended.signal),
      follow(request.nodes, names, model, ended),
    ]);
  } finally {
    for (const timer of timers) clearInterval(timer);
    watch.close();
    meter.close();
    names.close();
    client.close();
  }
}

/** Adds the nodes' events to the model; ends the page when no node is left. */
async function follow(
  nodes: readonly string[],
  names: FlowNames,
  model: LiveModel,
  ended: AbortController,
): Promise<void> {
  const sources: EventSource<FlowEvent | DropEvent>[] = [...connectionEvents(nodes), ...dropEvents(nodes)];
  const flowsOf = flowsOfEvents(names, nodes);
  const add = (event: FlowEvent | DropEvent): void => {
    for (const flow of flowsOf(event)) model.addFlow(flow, event.atMs);
  };
  try {
    await followEvents(sources, {
      ended: ended.signal,
      onPast: (events) => {
        for (const event of events) for (const flow of flowsOf(event)) model.addPast(flow);
      },
      onEvent: add,
      onMissed: (_, count) => model.addLost(count),
    });
  } finally {
    ended.abort();
  }
}

/** Keeps the model's topology as the API has it. */
function watchTopology(client: ApiClient, model: LiveModel) {
  let changed = false;
  const change = () => {
    changed = true;
  };
  const handlers = {
    added: change,
    updated: change,
    deleted: change,
    problem: (error: Error) => model.setNotice(`the API does not answer: ${error.message}`),
    recovered: () => model.setNotice(''),
  };
  const pods = startInformer(client, 'Pod', {}, handlers);
  const nodes = startInformer(client, 'Node', {}, handlers);
  const services = startInformer(client, 'Service', {}, handlers);
  const slices = startInformer(client, 'EndpointSlice', {}, handlers);
  const policies = startInformer(client, 'NetworkPolicy', {}, handlers);
  const all = [pods, nodes, services, slices, policies];
  return {
    apply(): void {
      if (!changed || all.some(({ synced }) => !synced)) return;
      changed = false;
      model.setTopology(
        topologyOf({
          pods: pods.values(),
          nodes: nodes.values(),
          services: services.values(),
          slices: slices.values(),
          policies: policies.values(),
        }),
      );
    },
    close(): void {
      for (const informer of all) informer.close();
    },
  };
}

/** What nodes and connections carry, since the measurement before. */
function measure(meter: LoadMeter, model: LiveModel, names: FlowNames): void {
  const { nodes, flows } = meter.look(MOST_FLOWS);
  model.setLoads(
    nodes.map(
      ({ node, framesInPerSecond, bytesInPerSecond, dropsPerSecond, connections }): NodeLoadView => ({
        name: node,
        framesPerSecond: Math.round(framesInPerSecond),
        bytesPerSecond: Math.round(bytesInPerSecond),
        dropsPerSecond: Math.round(dropsPerSecond * 10) / 10,
        connections: connections.entries,
      }),
    ),
  );
  const carried = flows.flatMap(({ node, flow, bytesPerSecond }) => {
    const ends = endsOfFlow(flow, node, model, names);
    return ends === undefined ? [] : [{ ends, bytesPerSecond }];
  });
  model.setCarried(carried, monotonicMs());
}

/** Undefined for a connection that is counted on another node. */
function endsOfFlow(flow: FlowText, node: string, model: LiveModel, names: FlowNames): FlowEnds | undefined {
  const { original, reply, protocol, status } = flow;
  const home = model.names.homeOf(original.src);
  if (home !== undefined && home !== node) return undefined;
  const name = protocolName(protocol);
  const asked = status.includes('DST_NAT')
    ? names.addresses.service(original.dst, original.dstPort, name.toUpperCase())
    : undefined;
  return endsOfConnection(
    {
      client: original.src,
      server: reply.src,
      protocol: name,
      srcPort: original.srcPort,
      port: reply.srcPort,
      asked: asked && { ...asked, ip: original.dst, port: original.dstPort },
    },
    model.names,
  );
}
