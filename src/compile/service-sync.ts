/**
 * Keeps the service table in step with Services and EndpointSlices as they change: each change touches its own
 * Service's entries and nothing else, whatever their number.
 */
import type { ServicePortContents, ServiceWriter } from '../../native-free-dataplane/tables/service-writer.ts';
import { type EndpointSlice, type Service, WellKnown } from '../api/types.ts';
import { type Place, compileService } from './compile-service.ts';

/** An endpoint that a service port no longer uses: its UDP connections must not go on to it. */
export interface RemovedEndpoint {
  readonly servicePort: ServicePortContents;
  /** Four words, IPv4 mapped. */
  readonly address: Int32Array;
  readonly port: number;
}

export interface ServiceSyncOptions {
  readonly writer: ServiceWriter;
  readonly place: Place;
  readonly now: () => number;
  /** Called after the change is in force. */
  readonly onRemoved: (removed: readonly RemovedEndpoint[]) => void;
  /** Called with an error of one service (a full table); the others go on. */
  readonly onError: (service: string, error: Error) => void;
  /** Called with addresses that must be routed to the data plane, or not any more. */
  readonly onAddresses?: (wanted: ReadonlySet<string>) => void;
}

interface Known {
  service?: Service;
  readonly slices: Map<string, EndpointSlice>;
  ports: ServicePortContents[];
}

export class ServiceSync {
  private readonly options: ServiceSyncOptions;
  private readonly services = new Map<string, Known>();

  constructor(options: ServiceSyncOptions) {
    this.options = options;
  }

  /** A Service came or changed. */
  setService(service: Service): void {
    const key = keyOf(service.metadata.namespace, service.metadata.name);
    this.known(key).service = service;
    this.compile(key);
  }

  /** A Service went. */
  removeService(service: Service): void {
    const key = keyOf(service.metadata.namespace, service.metadata.name);
    const known = this.services.get(key);
    if (!known) return;
    delete known.service;
    this.compile(key);
  }

  /** A slice came or changed. */
  setSlice(slice: EndpointSlice): void {
    const key = serviceOf(slice);
    if (key === undefined) return;
    this.known(key).slices.set(slice.metadata.name, slice);
    this.compile(key);
  }

  /** A slice went. */
  removeSlice(slice: EndpointSlice): void {
    const key = serviceOf(slice);
    if (key === undefined) return;
    this.services.get(key)?.slices.delete(slice.metadata.name);
    this.compile(key);
  }

  private known(key: string): Known {
    let known = this.services.get(key);
    if (!known) {
      known = { slices: new Map(), ports: [] };
      this.services.set(key, known);
    }
    return known;
  }

  private compile(key: string): void {
    const known = this.services.get(key);
    if (!known) return;
    const { writer, place, now } = this.options;
    const before = known.ports;
    let after: ServicePortContents[] = [];
    try {
      after = known.service ? compileService(known.service, [...known.slices.values()], place) : [];
      for (const port of after) {
        const old = before.find(({ name }) => name === port.name);
        if (!old || !sameContents(old, port)) writer.set(port, now());
      }
    } catch (error) {
      this.options.onError(key, error as Error);
      return;
    }
    for (const old of before) if (!after.some(({ name }) => name === old.name)) writer.remove(old.name, now());
    known.ports = after;
    if (!known.service && known.slices.size === 0) this.services.delete(key);
    this.report(before, after);
  }

  private report(before: readonly ServicePortContents[], after: readonly ServicePortContents[]): void {
    const removed: RemovedEndpoint[] = [];
    for (const old of before) {
      const port = after.find(({ name }) => name === old.name);
      // Serving endpoints of either set keep their connections, whichever set new ones pick from (S16).
      const kept = new Set([...(port?.cluster ?? []), ...(port?.local ?? [])].map(({ key }) => key));
      for (const endpoint of [...old.cluster, ...old.local]) {
        if (!kept.has(endpoint.key)) removed.push({ servicePort: old, address: endpoint.address, port: endpoint.port });
      }
      if (old.cluster.length === 0 && (port?.cluster.length ?? 0) > 0) {
        // Connections that began while there was no endpoint would go on to nowhere (kubernetes #105657).
        removed.push({ servicePort: old, address: NONE, port: 0 });
      }
    }
    if (removed.length > 0) this.options.onRemoved(removed);
  }
}

const NONE = new Int32Array(4);

function keyOf(namespace: string | undefined, name: string): string {
  return `${namespace ?? 'default'}/${name}`;
}

function serviceOf(slice: EndpointSlice): string | undefined {
  const name = slice.metadata.labels?.[WellKnown.SERVICE_NAME];
  return name === undefined ? undefined : keyOf(slice.metadata.namespace, name);
}

function sameContents(a: ServicePortContents, b: ServicePortContents): boolean {
  return JSON.stringify(flat(a)) === JSON.stringify(flat(b));
}

function flat(contents: ServicePortContents): unknown {
  return {
    ...contents,
    cluster: contents.cluster.map(({ key }) => key),
    local: contents.local.map(({ key }) => key),
    frontends: contents.frontends.map(({ kind, address, port }) => [kind, [...address], port]),
    sourceRanges: contents.sourceRanges.map(({ words, prefix }) => [[...words], prefix]),
  };
}
