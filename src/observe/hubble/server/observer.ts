/**
 * Hubble's observer service over gRPC, so that the `hubble` program and others that speak it work: one server for all
 * nodes of this machine, as Hubble's relay is for a cluster.
 */
import { type handleUnaryCall, Server, ServerCredentials, type ServerWritableStream, status } from '@grpc/grpc-js';
import type { FlowFilters } from '../filter.ts';
import type { Flow } from '../flow.ts';
import { type FlowStore, MAX_FLOWS } from './flow-store.ts';
import { flowResponse, lostResponse, type Timestamp, timeMs } from './messages.ts';
import { type FilterMessage, requestFilters, UnsupportedFilter } from './request-filter.ts';
import { codecOf } from './schema.ts';

export interface ObserverOptions {
  readonly store: FlowStore;
  readonly version: string;
  /** The nodes, and the address of each. */
  readonly nodes: () => readonly { readonly name: string; readonly address: string }[];
}

interface GetFlowsRequest {
  readonly number?: string;
  readonly first?: boolean;
  readonly follow?: boolean;
  readonly whitelist: readonly FilterMessage[];
  readonly blacklist: readonly FilterMessage[];
  readonly since?: Timestamp;
  readonly until?: Timestamp;
}

type FlowsCall = ServerWritableStream<GetFlowsRequest, object>;

/** The health service's answer SERVING, and a node that is connected. */
const SERVING = 1;
const NODE_CONNECTED = 1;
/** Flows per second are those of the last minute. */
const RATE_MS = 60_000;

export class ObserverServer {
  private readonly options: ObserverOptions;
  private readonly server = new Server();
  private readonly startedMs = Date.now();

  constructor(options: ObserverOptions) {
    this.options = options;
    const unary = (path: string, request: string, response: string) => {
      const [from, to] = [codecOf<object>(request), codecOf<object>(response)];
      return {
        path,
        requestStream: false,
        responseStream: false,
        requestDeserialize: from.decode,
        requestSerialize: from.encode,
        responseSerialize: to.encode,
        responseDeserialize: to.decode,
      };
    };
    const flows = {
      ...unary('/observer.Observer/GetFlows', 'GetFlowsRequest', 'GetFlowsResponse'),
      responseStream: true,
    };
    const answer =
      (make: () => object): handleUnaryCall<object, object> =>
      (_, done) =>
        done(null, make());
    this.server.addService(
      {
        GetFlows: flows,
        ServerStatus: unary('/observer.Observer/ServerStatus', 'Empty', 'ServerStatusResponse'),
        GetNodes: unary('/observer.Observer/GetNodes', 'Empty', 'GetNodesResponse'),
        GetNamespaces: unary('/observer.Observer/GetNamespaces', 'Empty', 'GetNamespacesResponse'),
      },
      {
        GetFlows: (call: FlowsCall) => void this.getFlows(call),
        ServerStatus: answer(() => this.serverStatus()),
        GetNodes: answer(() => this.getNodes()),
        GetNamespaces: answer(() => this.getNamespaces()),
      },
    );
    this.server.addService(
      { Check: unary('/grpc.health.v1.Health/Check', 'HealthCheckRequest', 'HealthCheckResponse') },
      { Check: answer(() => ({ status: SERVING })) },
    );
  }

  /** @param address HOST:PORT or unix:PATH @throws Error if it cannot be listened on */
  listen(address: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.bindAsync(address, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }

  close(): void {
    this.server.forceShutdown();
  }

  private async getFlows(call: FlowsCall): Promise<void> {
    const { request } = call;
    let filters: FlowFilters;
    try {
      filters = requestFilters(request.whitelist, request.blacklist);
    } catch (error) {
      const code = error instanceof UnsupportedFilter ? status.UNIMPLEMENTED : status.INTERNAL;
      call.emit('error', { code, details: (error as Error).message });
      return;
    }
    const out = new FlowStream(call, filters, request.until === undefined ? undefined : timeMs(request.until));
    // Subscribed before the past is read, so that nothing in between is missed.
    const held: Flow[] = [];
    let live = false;
    const end = request.follow
      ? this.options.store.follow((flow) => (live ? out.write(flow) : held.push(flow)))
      : undefined;
    call.on('cancelled', () => end?.());
    call.on('close', () => end?.());
    const past = await this.past(request, filters);
    const known = new Set(past.map(({ uuid }) => uuid));
    for (const flow of past) await out.writeSlowly(flow);
    if (end === undefined) return void call.end();
    for (const flow of held) if (!known.has(flow.uuid)) out.write(flow);
    live = true;
  }

  /** The flows of the past that are asked for, oldest first. */
  private async past({ number, first, follow, since, until }: GetFlowsRequest, filters: FlowFilters): Promise<Flow[]> {
    const most =
      number === undefined || number === '0' ? (follow && since === undefined ? 0 : undefined) : Number(number);
    if (most === 0) return [];
    const untilMs = until === undefined ? Number.POSITIVE_INFINITY : timeMs(until);
    const found: Flow[] = [];
    const { store } = this.options;
    const source = since === undefined && !first ? store.recent : store.since(since === undefined ? 0 : timeMs(since));
    for await (const flow of source) {
      if (Date.parse(flow.time) > untilMs || !filters.passes(flow)) continue;
      found.push(flow);
      if (most === undefined) continue;
      if (first && found.length >= most) break;
      if (!first && found.length > most) found.shift();
    }
    return found;
  }

  private serverStatus(): object {
    const { store, version, nodes } = this.options;
    const sinceMs = Date.now() - RATE_MS;
    const recent = store.recent.filter(({ time }) => Date.parse(time) >= sinceMs).length;
    const seconds = Math.min(Date.now() - this.startedMs, RATE_MS) / 1000;
    return {
      num_flows: store.size,
      max_flows: MAX_FLOWS,
      seen_flows: store.seen,
      uptime_ns: this.uptimeNs(),
      num_connected_nodes: { value: nodes().length },
      num_unavailable_nodes: { value: 0 },
      version: `dataplane ${version}`,
      flows_rate: seconds > 0 ? recent / seconds : 0,
    };
  }

  private uptimeNs(): number {
    return (Date.now() - this.startedMs) * 1e6;
  }

  private getNodes(): object {
    const { store, version, nodes } = this.options;
    return {
      nodes: nodes().map(({ name, address }) => {
        const own = store.recent.filter(({ node_name }) => node_name === name).length;
        return {
          name,
          address,
          version: `dataplane ${version}`,
          state: NODE_CONNECTED,
          uptime_ns: this.uptimeNs(),
          num_flows: own,
          max_flows: MAX_FLOWS,
          seen_flows: own,
        };
      }),
    };
  }

  private getNamespaces(): object {
    const found = new Set<string>();
    for (const { source, destination } of this.options.store.recent) {
      for (const end of [source, destination]) if (end?.namespace !== undefined) found.add(end.namespace);
    }
    return { namespaces: [...found].sort().map((namespace) => ({ cluster: 'default', namespace })) };
  }
}

/** One reader. Flows that it is too slow for are left out, and counted. */
class FlowStream {
  private readonly call: FlowsCall;
  private readonly filters: FlowFilters;
  private readonly untilMs: number | undefined;
  private lost = 0;

  constructor(call: FlowsCall, filters: FlowFilters, untilMs: number | undefined) {
    this.call = call;
    this.filters = filters;
    this.untilMs = untilMs;
  }

  /** A flow as it happens. */
  write(flow: Flow): void {
    if (!this.filters.passes(flow)) return;
    if (this.untilMs !== undefined && Date.parse(flow.time) > this.untilMs) return;
    if (this.call.writableNeedDrain) {
      this.lost++;
      return;
    }
    if (this.lost > 0) this.call.write(lostResponse(this.lost, flow.node_name, flow.time));
    this.lost = 0;
    this.call.write(flowResponse(flow));
  }

  /** One of the past: as fast as the reader takes them. */
  async writeSlowly(flow: Flow): Promise<void> {
    if (this.call.cancelled || this.call.write(flowResponse(flow))) return;
    await new Promise<void>((resolve) => {
      this.call.once('drain', resolve);
      this.call.once('cancelled', resolve);
      this.call.once('close', resolve);
    });
  }
}
