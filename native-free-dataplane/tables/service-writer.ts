/**
 * The writer's side of the service table: blocks made, published, and taken back after a grace period. One writer per
 * table (the agent's main thread); never called on the path.
 */
import { maglevSize, writeMaglev } from './maglev.ts';
import {
  Block,
  ENDPOINT_ID,
  ENDPOINT_PORT,
  ENDPOINT_WORDS,
  type FrontendKind,
  GONE,
  RANGE_WORDS,
  SLOT_BLOCK,
  SLOT_KEY,
  SLOT_KIND,
  SLOT_WORDS,
  ServiceFlag,
  type ServiceTable,
  findFrontend,
  frontendHash,
  nodePortAt,
} from './services.ts';

/** A block that was replaced rests so long: far longer than any batch takes. */
const GRACE_MS = 1000;

export interface EndpointContents {
  /** Four words, IPv4 mapped. */
  readonly address: Int32Array;
  readonly port: number;
  /** Name that is the same as long as the endpoint lives; ids and counters hang on it. */
  readonly key: string;
}

export interface FrontendContents {
  readonly kind: FrontendKind;
  /** Four words; not used for a NodePort. */
  readonly address: Int32Array;
  readonly port: number;
}

/** One port of one service, complete. */
export interface ServicePortContents {
  /** Stable name, e.g. default/mc3:http. */
  readonly name: string;
  readonly protocol: number;
  readonly frontends: readonly FrontendContents[];
  readonly cluster: readonly EndpointContents[];
  readonly local: readonly EndpointContents[];
  readonly affinitySeconds: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** Some endpoint exists anywhere, serving. */
  readonly hasEndpoints: boolean;
  readonly maglev: boolean;
  /** Networks of loadBalancerSourceRanges: four words and a prefix of 128 each. Empty: everyone. */
  readonly sourceRanges: readonly { readonly words: Int32Array; readonly prefix: number }[];
}

interface Published {
  readonly id: number;
  contents: ServicePortContents;
  block: number;
}

/** Owner of a service table. */
export class ServiceWriter {
  private readonly table: ServiceTable;
  private readonly ports = new Map<string, Published>();
  private readonly vipUsers = new Map<string, number>();
  private readonly endpointIds = new Map<string, { id: number; users: number }>();
  private readonly freeIds: number[] = [];
  private nextEndpointId = 1;
  private nextServicePort = 1;
  private poolEnd = 16;
  private readonly freeBlocks = new Map<number, number[]>();
  private readonly resting: { block: number; at: number }[] = [];

  constructor(table: ServiceTable) {
    this.table = table;
  }

  /** Service ports in force. */
  get size(): number {
    return this.ports.size;
  }

  /** What is in force for a service port, with the id of each endpoint. */
  get(name: string): { id: number; contents: ServicePortContents } | undefined {
    return this.ports.get(name);
  }

  /** Id of an endpoint by its key, for counters; 0 when it is not in force. */
  endpointId(key: string): number {
    return this.endpointIds.get(key)?.id ?? 0;
  }

  /**
   * Put a service port in force, new or changed, in one step for every packet.
   * @throws RangeError when the table is full; what was in force before stays
   */
  set(contents: ServicePortContents, nowMs: number): void {
    this.reclaim(nowMs);
    const known = this.ports.get(contents.name);
    const id = known?.id ?? this.nextServicePort++;
    for (const endpoint of unique(contents)) this.holdEndpoint(endpoint.key);
    const block = this.writeBlock(contents, id);
    const kept = new Set<string>();
    for (const frontend of contents.frontends) {
      kept.add(frontendName(contents.protocol, frontend));
      this.publish(contents.protocol, frontend, block, known);
    }
    this.ports.set(contents.name, { id, contents, block });
    if (!known) return;
    for (const frontend of known.contents.frontends) {
      if (!kept.has(frontendName(known.contents.protocol, frontend))) this.withdraw(known.contents.protocol, frontend);
    }
    for (const endpoint of unique(known.contents)) this.dropEndpoint(endpoint.key);
    this.resting.push({ block: known.block, at: nowMs });
  }

  /** Take a service port out of force; nothing happens when it is not. */
  remove(name: string, nowMs: number): void {
    const known = this.ports.get(name);
    if (!known) return;
    this.ports.delete(name);
    for (const frontend of known.contents.frontends) this.withdraw(known.contents.protocol, frontend);
    for (const endpoint of unique(known.contents)) this.dropEndpoint(endpoint.key);
    this.resting.push({ block: known.block, at: nowMs });
    this.reclaim(nowMs);
  }

  /** Give the words of blocks that have rested long enough back. */
  private reclaim(nowMs: number): void {
    while (this.resting.length > 0 && nowMs - (this.resting[0]?.at ?? 0) >= GRACE_MS) {
      const { block } = this.resting.shift() as { block: number };
      const size = this.table.pool[block + Block.SIZE] as number;
      const list = this.freeBlocks.get(size);
      if (list) list.push(block);
      else this.freeBlocks.set(size, [block]);
    }
  }

  private holdEndpoint(key: string): void {
    const known = this.endpointIds.get(key);
    if (known) {
      known.users++;
      return;
    }
    const id = this.freeIds.pop() ?? this.nextEndpointId++;
    if (id >= this.table.connections.length) throw new RangeError(`no endpoint id is left (${this.table.connections.length})`);
    this.table.connections[id] = 0;
    this.endpointIds.set(key, { id, users: 1 });
  }

  private dropEndpoint(key: string): void {
    const known = this.endpointIds.get(key);
    if (!known) return;
    known.users--;
    if (known.users > 0) return;
    this.endpointIds.delete(key);
    this.freeIds.push(known.id);
  }

  private allocate(words: number): number {
    let size = 16;
    while (size < words) size *= 2;
    const reused = this.freeBlocks.get(size)?.pop();
    if (reused !== undefined) return reused;
    const block = this.poolEnd;
    if (block + size > this.table.pool.length) throw new RangeError('the service table has no room for another block');
    this.poolEnd += size;
    this.table.pool[block + Block.SIZE] = size;
    return block;
  }

  private writeBlock(contents: ServicePortContents, id: number): number {
    const { pool } = this.table;
    const { cluster, local, sourceRanges } = contents;
    const maglev = contents.maglev ? maglevSize(cluster.length) : 0;
    const words = (cluster.length + local.length) * ENDPOINT_WORDS + sourceRanges.length * RANGE_WORDS + maglev;
    const block = this.allocate(Block.ENDPOINTS + words);
    pool[block + Block.SERVICE_PORT] = id;
    pool[block + Block.FLAGS] =
      (contents.affinitySeconds > 0 ? ServiceFlag.AFFINITY : 0) |
      (contents.internalLocal ? ServiceFlag.INTERNAL_LOCAL : 0) |
      (contents.externalLocal ? ServiceFlag.EXTERNAL_LOCAL : 0) |
      (contents.hasEndpoints ? ServiceFlag.HAS_ENDPOINTS : 0);
    pool[block + Block.AFFINITY_SECONDS] = contents.affinitySeconds;
    pool[block + Block.CLUSTER_COUNT] = cluster.length;
    pool[block + Block.LOCAL_COUNT] = local.length;
    pool[block + Block.RANGE_COUNT] = sourceRanges.length;
    pool[block + Block.MAGLEV_SIZE] = maglev;
    let at = block + Block.ENDPOINTS;
    for (const endpoint of [...cluster, ...local]) {
      pool.set(endpoint.address, at);
      pool[at + ENDPOINT_PORT] = endpoint.port;
      pool[at + ENDPOINT_ID] = this.endpointId(endpoint.key);
      at += ENDPOINT_WORDS;
    }
    for (const range of sourceRanges) {
      pool.set(range.words, at);
      pool[at + 4] = range.prefix;
      at += RANGE_WORDS;
    }
    if (maglev > 0) writeMaglev(pool, at, maglev, cluster.map((endpoint) => endpoint.key));
    return block;
  }

  private publish(protocol: number, frontend: FrontendContents, block: number, known: Published | undefined): void {
    if (frontend.port !== 0 && frontend.kind === NODE_PORT) {
      Atomics.store(this.table.nodePorts, nodePortAt(protocol, frontend.port), block);
      return;
    }
    const name = frontendName(protocol, frontend);
    const isNew = !known?.contents.frontends.some((old) => frontendName(known.contents.protocol, old) === name);
    this.store(frontend.address, (protocol << 16) | frontend.port, block, frontend.kind);
    if (!isNew) return;
    const vip = frontend.address.join();
    const users = this.vipUsers.get(vip) ?? 0;
    this.vipUsers.set(vip, users + 1);
    if (users === 0) this.store(frontend.address, 0, 1, frontend.kind);
  }

  private withdraw(protocol: number, frontend: FrontendContents): void {
    if (frontend.kind === NODE_PORT) {
      Atomics.store(this.table.nodePorts, nodePortAt(protocol, frontend.port), 0);
      return;
    }
    this.clear(frontend.address, (protocol << 16) | frontend.port);
    const vip = frontend.address.join();
    const users = (this.vipUsers.get(vip) ?? 1) - 1;
    if (users > 0) this.vipUsers.set(vip, users);
    else {
      this.vipUsers.delete(vip);
      this.clear(frontend.address, 0);
    }
  }

  private store(address: Int32Array, key: number, block: number, kind: number): void {
    const { slots, slotMask } = this.table;
    const known = findFrontend(this.table, address, key);
    if (known >= 0) {
      slots[known + SLOT_KIND] = kind;
      Atomics.store(slots, known + SLOT_BLOCK, block);
      return;
    }
    for (let probe = 0, slot = frontendHash(this.table, address, key) & slotMask; probe <= slotMask; probe++, slot = (slot + 1) & slotMask) {
      const at = slot * SLOT_WORDS;
      const state = slots[at + SLOT_BLOCK];
      if (state !== 0 && state !== GONE) continue;
      slots.set(address, at);
      slots[at + SLOT_KEY] = key;
      slots[at + SLOT_KIND] = kind;
      Atomics.store(slots, at + SLOT_BLOCK, block);
      return;
    }
    throw new RangeError('the service table has no slot left');
  }

  private clear(address: Int32Array, key: number): void {
    const { slots, slotMask } = this.table;
    const at = findFrontend(this.table, address, key);
    if (at < 0) return;
    // A slot before an empty one ends its chain: nothing lies behind it, so it may be empty itself.
    const next = (((at / SLOT_WORDS) | 0) + 1) & slotMask;
    Atomics.store(slots, at + SLOT_BLOCK, slots[next * SLOT_WORDS + SLOT_BLOCK] === 0 ? 0 : GONE);
  }
}

const NODE_PORT = 4;

function frontendName(protocol: number, frontend: FrontendContents): string {
  return frontend.kind === NODE_PORT
    ? `${protocol}/node:${frontend.port}`
    : `${protocol}/${frontend.address.join()}:${frontend.port}`;
}

function unique(contents: ServicePortContents): EndpointContents[] {
  const seen = new Map<string, EndpointContents>();
  for (const endpoint of contents.cluster) seen.set(endpoint.key, endpoint);
  for (const endpoint of contents.local) seen.set(endpoint.key, endpoint);
  return [...seen.values()];
}
