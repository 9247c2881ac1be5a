/**
 * Readable views of the service table, for `dataplane describe service` and tests. Any process that maps the table may
 * use them, even while the table is being written; never called on the path.
 */
import { MAX_WORKERS } from '../shared/layout.ts';
import { Block, ENDPOINT_ID, ENDPOINT_PORT, ENDPOINT_WORDS, RANGE_WORDS, rangesAt, ServiceFlag } from './blocks.ts';
import {
  ANY_ADDRESS,
  blockOf,
  FRONTEND_WORDS,
  Frontend,
  type FrontendKind,
  findFrontend,
  hostPortKey,
  keyProtocol,
  nodePortAt,
  nodePortService,
  protocolClass,
  type ServiceTable,
  serviceKey,
  targetKind,
  targetService,
} from './table.ts';

/** An endpoint, with its counters. */
export interface EndpointView {
  /** Four words, IPv4 mapped. */
  readonly address: Int32Array;
  readonly port: number;
  readonly id: number;
  /** New connections it received since it became an endpoint, and packets of both directions they carried. */
  readonly connections: number;
  readonly packets: number;
}

/** A service port, with its endpoints and policies. */
export interface ServicePortView {
  /** Id of the service port, the key of its affinity entries. */
  readonly id: number;
  readonly cluster: readonly EndpointView[];
  readonly local: readonly EndpointView[];
  readonly affinitySeconds: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  readonly hasEndpoints: boolean;
  readonly maglev: boolean;
  /** Undefined if all clients are admitted. */
  readonly sourceRanges: readonly { readonly words: Int32Array; readonly prefix: number }[] | undefined;
}

/** An address and port, with the service port behind it. */
export interface FrontendView {
  readonly kind: FrontendKind;
  readonly address: Int32Array;
  readonly protocol: number;
  readonly port: number;
  /** Number of its service port in the table. */
  readonly service: number;
}

/**
 * The service port behind an address and port, or undefined.
 * @param address four words; omit it for a NodePort
 */
export function viewService(
  table: ServiceTable,
  protocol: number,
  port: number,
  address?: Int32Array,
): ServicePortView | undefined {
  if (protocolClass(protocol) < 0) return undefined;
  if (address !== undefined) return viewFrontend(table, address, serviceKey(protocol, port));
  const service = nodePortService(table.nodePorts[nodePortAt(protocol, port)]);
  const block = service === 0 ? 0 : blockOf(table, service);
  return block === 0 ? undefined : viewBlock(table, block);
}

/**
 * The pod's hostPort at an address of the node, or at all of them; undefined if there is none.
 * @param address four words
 */
export function viewHostPort(
  table: ServiceTable,
  protocol: number,
  port: number,
  address: Int32Array,
): ServicePortView | undefined {
  const key = hostPortKey(protocol, port);
  return viewFrontend(table, address, key) ?? viewFrontend(table, ANY_ADDRESS, key);
}

function viewFrontend(table: ServiceTable, address: Int32Array, key: number): ServicePortView | undefined {
  const at = findFrontend(table, address, key);
  const block = at < 0 ? 0 : blockOf(table, targetService(table.frontends[at + Frontend.TARGET]));
  return block === 0 ? undefined : viewBlock(table, block);
}

/** Every address and port that leads to a service port, except NodePorts; in no particular order. */
export function viewFrontends(table: ServiceTable): FrontendView[] {
  const views: FrontendView[] = [];
  const { chains, frontends } = table;
  for (let chain = 0; chain < chains.length; chain++) {
    for (let number = chains[chain]; number !== 0; number = frontends[number * FRONTEND_WORDS + Frontend.NEXT]) {
      const at = number * FRONTEND_WORDS;
      const key = frontends[at + Frontend.KEY];
      if (key === 0) continue;
      const target = frontends[at + Frontend.TARGET];
      views.push({
        kind: targetKind(target) as FrontendKind,
        address: frontends.slice(at, at + 4),
        protocol: keyProtocol(key),
        port: key & 0xffff,
        service: targetService(target),
      });
    }
  }
  return views;
}

function viewBlock(table: ServiceTable, block: number): ServicePortView {
  const { pool } = table;
  const flags = pool[block + Block.FLAGS];
  const clusterCount = pool[block + Block.CLUSTER_COUNT];
  const set = (first: number, count: number): EndpointView[] =>
    Array.from({ length: count }, (_, i) => viewEndpoint(table, first + i * ENDPOINT_WORDS));
  const ranges = Array.from({ length: pool[block + Block.RANGE_COUNT] }, (_, i) => {
    const at = rangesAt(pool, block) + i * RANGE_WORDS;
    return { words: pool.slice(at, at + 4), prefix: pool[at + 4] };
  });
  const first = block + Block.ENDPOINTS;
  return {
    id: pool[block + Block.SERVICE_PORT],
    cluster: set(first, clusterCount),
    local: set(first + clusterCount * ENDPOINT_WORDS, pool[block + Block.LOCAL_COUNT]),
    affinitySeconds: pool[block + Block.AFFINITY_SECONDS],
    internalLocal: (flags & ServiceFlag.INTERNAL_LOCAL) !== 0,
    externalLocal: (flags & ServiceFlag.EXTERNAL_LOCAL) !== 0,
    hasEndpoints: (flags & ServiceFlag.HAS_ENDPOINTS) !== 0,
    maglev: pool[block + Block.MAGLEV_SIZE] > 0,
    sourceRanges: (flags & ServiceFlag.RANGES) !== 0 ? ranges : undefined,
  };
}

function viewEndpoint(table: ServiceTable, at: number): EndpointView {
  const { pool } = table;
  const id = pool[at + ENDPOINT_ID];
  let packets = 0;
  for (let worker = 0; worker < MAX_WORKERS; worker++) packets += table.packets[worker * table.endpoints + id];
  return {
    address: pool.slice(at, at + 4),
    port: pool[at + ENDPOINT_PORT],
    id,
    connections: table.connections[id] >>> 0,
    packets,
  };
}
