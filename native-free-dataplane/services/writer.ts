/**
 * The agent's side of the service table: service ports are added, changed and removed. There is one writer per table
 * (the agent's main thread) for everything but affinity and counters, which workers write; never called on the path.
 *
 * A change of endpoints is one store (the service port's block). A new address is inserted after the block it leads to.
 * An address that goes is removed from its chain, and its record, like every block and number taken out of use, waits
 * for a grace period before it is reused, so that a packet in the middle of a look-up continues over intact memory.
 *
 * Two service ports may claim the same address and port (two Services with one external IP). The first to claim it has
 * it; when it gives it up, the next one gets it.
 */
import { BlockPool, blockWords, sameBlock, writeBlock } from './blocks.ts';
import type { EndpointContents, FrontendContents, ServicePortContents } from './contents.ts';
import { EndpointIds } from './endpoints.ts';
import { FrontendChains, type FrontendRecord } from './frontends.ts';
import { nameHash } from './maglev.ts';
import { blockOf, FrontendKind, HAS_HOST_PORT, nodePortAt, type ServiceTable } from './table.ts';

/** Grace period before anything removed is reused: far longer than any batch takes. */
const GRACE_MS = 1000;

/** An address and port in use, with all service ports that claim it. */
interface Claim {
  /** Its record in the table; undefined for a NodePort. */
  readonly record: FrontendRecord | undefined;
  /** Service ports that claimed it, in that order; the first has it. */
  readonly claimants: Published[];
}

interface Published {
  readonly name: string;
  readonly protocol: number;
  /** Number in the table. */
  readonly service: number;
  /** Names of the frontends it claimed. */
  frontends: Map<string, FrontendContents>;
  /** Keys of its endpoints and their ids. */
  endpoints: Map<string, number>;
}

/** The writer of a service table. */
export class ServiceWriter {
  private readonly table: ServiceTable;
  private readonly pool: BlockPool;
  private readonly chains: FrontendChains;
  private readonly ids: EndpointIds;
  private readonly ports = new Map<string, Published>();
  private readonly claims = new Map<string, Claim>();
  /** Host ports in the table, by the index of their NodePort's word. */
  private readonly hostPorts = new Map<number, number>();
  private readonly freeServices: number[] = [];
  private nextService = 1;
  private readonly resting: { readonly at: number; readonly release: () => void }[] = [];

  /** @param table a new, empty table */
  constructor(table: ServiceTable) {
    this.table = table;
    this.pool = new BlockPool(table.pool);
    this.chains = new FrontendChains(table);
    this.ids = new EndpointIds(table);
  }

  /** Number of published service ports. */
  get size(): number {
    return this.ports.size;
  }

  /** Offset of a service port's block, 0 if it is not published. */
  blockOf(name: string): number {
    const known = this.ports.get(name);
    return known ? blockOf(this.table, known.service) : 0;
  }

  /** Id of an endpoint of a service port, for counters; 0 if it is not published. */
  endpointId(name: string, key: string): number {
    return this.ports.get(name)?.endpoints.get(key) ?? 0;
  }

  /**
   * Publish a service port, new or changed, at all its addresses in one step.
   * @param nowMs monotonic milliseconds
   * @returns whether anything had to be written
   * @throws RangeError if the table is full; what was published before stays
   */
  set(contents: ServicePortContents, nowMs: number): boolean {
    this.reclaim(nowMs);
    const known = this.ports.get(contents.name);
    if (known && known.protocol !== contents.protocol) {
      this.remove(contents.name, nowMs);
      return this.set(contents, nowMs);
    }
    const wanted = byName(contents);
    this.checkRoom(wanted, known);
    const endpoints = this.ids.assign(contents.name, keysOf(contents), known?.endpoints);
    if (!endpoints) throw new RangeError(`the service table has no endpoint id left (${this.table.endpoints})`);
    const words = blockWords(contents);
    const block = this.pool.allocate(words);
    if (block === 0) {
      this.ids.release(endpoints, known?.endpoints);
      throw new RangeError(`the service table has no room left for a block of ${words} words`);
    }
    writeBlock(this.table.pool, block, contents, servicePortId(contents.name), (key) => endpoints.get(key) as number);

    const port: Published = known ?? this.newPort(contents);
    const old = blockOf(this.table, port.service);
    const changed = old === 0 || !sameBlock(this.table.pool, old, block, words);
    if (changed) {
      Atomics.store(this.table.blocks, port.service, block);
      if (old !== 0) this.rest(nowMs, () => this.pool.release(old));
    } else {
      this.pool.release(block);
    }
    if (known) this.ids.release(known.endpoints, endpoints);
    port.endpoints = endpoints;
    return this.replaceFrontends(port, wanted, nowMs) || changed;
  }

  /** Withdraw a service port. @returns false if it was not published */
  remove(name: string, nowMs: number): boolean {
    const known = this.ports.get(name);
    if (!known) return false;
    this.replaceFrontends(known, new Map(), nowMs);
    this.ports.delete(name);
    const block = blockOf(this.table, known.service);
    Atomics.store(this.table.blocks, known.service, 0);
    this.ids.release(known.endpoints);
    this.rest(nowMs, () => {
      this.pool.release(block);
      this.freeServices.push(known.service);
    });
    this.reclaim(nowMs);
    return true;
  }

  /**
   * Release everything whose grace period is over. Every change does this; call it periodically when there are none.
   */
  reclaim(nowMs: number): void {
    let rested = 0;
    while (rested < this.resting.length && nowMs - this.resting[rested].at >= GRACE_MS)
      this.resting[rested++].release();
    if (rested > 0) this.resting.splice(0, rested);
  }

  private rest(nowMs: number, release: () => void): void {
    this.resting.push({ at: nowMs, release });
  }

  /** Check everything that could run out, before anything is changed. */
  private checkRoom(wanted: Map<string, FrontendContents>, known: Published | undefined): void {
    let records = 0;
    for (const [name, { kind }] of wanted) if (kind !== FrontendKind.NODE_PORT && !this.claims.has(name)) records++;
    if (!this.chains.hasRoom(records)) throw new RangeError('the service table has no room left for another address');
    if (!known && this.freeServices.length === 0 && this.nextService >= this.table.blocks.length) {
      throw new RangeError(`the service table is full (${this.table.blocks.length} service ports)`);
    }
  }

  private newPort({ name, protocol }: ServicePortContents): Published {
    const service = this.freeServices.pop() ?? this.nextService++;
    const port: Published = { name, protocol, service, frontends: new Map(), endpoints: new Map() };
    this.ports.set(name, port);
    return port;
  }

  /** Insert new addresses before removing old ones, so that a service that moves is never without an address. */
  private replaceFrontends(port: Published, wanted: Map<string, FrontendContents>, nowMs: number): boolean {
    let changed = false;
    const before = port.frontends;
    port.frontends = wanted;
    for (const [name, frontend] of wanted) {
      const old = before.get(name);
      if (old?.kind === frontend.kind) continue;
      if (old) this.lead(name);
      else this.claim(port, name, frontend);
      changed = true;
    }
    for (const [name, frontend] of before) {
      if (wanted.has(name)) continue;
      this.yield(port, name, frontend, nowMs);
      changed = true;
    }
    return changed;
  }

  private claim(port: Published, name: string, frontend: FrontendContents): void {
    const claim = this.claims.get(name);
    if (claim) {
      claim.claimants.push(port);
      return;
    }
    const isNodePort = frontend.kind === FrontendKind.NODE_PORT;
    const record = isNodePort ? undefined : this.chains.insert(port.protocol, frontend, port.service);
    this.claims.set(name, { record, claimants: [port] });
    if (isNodePort) this.lead(name);
    else if (frontend.kind === FrontendKind.HOST_PORT) this.countHostPort(nodePortAt(port.protocol, frontend.port), 1);
  }

  private yield(port: Published, name: string, { port: number, kind }: FrontendContents, nowMs: number): void {
    const { record, claimants } = this.claims.get(name) as Claim;
    claimants.splice(claimants.indexOf(port), 1);
    if (claimants.length > 0) {
      this.lead(name);
      return;
    }
    this.claims.delete(name);
    const at = nodePortAt(port.protocol, number);
    if (record) {
      if (kind === FrontendKind.HOST_PORT) this.countHostPort(at, -1);
      const released = this.chains.remove(record);
      this.rest(nowMs, () => this.chains.release(released));
    } else {
      this.storeNodePort(at, 0);
    }
  }

  /** Update HAS_HOST_PORT in a NodePort's word. */
  private countHostPort(at: number, more: 1 | -1): void {
    const count = (this.hostPorts.get(at) ?? 0) + more;
    if (count > 0) this.hostPorts.set(at, count);
    else this.hostPorts.delete(at);
    if (count > 0) Atomics.or(this.table.nodePorts, at, HAS_HOST_PORT);
    else Atomics.and(this.table.nodePorts, at, ~HAS_HOST_PORT);
  }

  private storeNodePort(at: number, service: number): void {
    Atomics.store(this.table.nodePorts, at, service | (this.hostPorts.has(at) ? HAS_HOST_PORT : 0));
  }

  /** Make an address lead to the service port that has it now. */
  private lead(name: string): void {
    const { record, claimants } = this.claims.get(name) as Claim;
    const { service, protocol, frontends } = claimants[0];
    const { kind, port } = frontends.get(name) as FrontendContents;
    if (record) this.chains.retarget(record, service, kind);
    else this.storeNodePort(nodePortAt(protocol, port), service);
  }
}

/**
 * Id of a service port in blocks and affinity entries: derived from its name alone, so that it survives a restart of
 * the agent.
 */
export function servicePortId(name: string): number {
  return nameHash(name, 0x2f0b4c47) & 0x7fffffff || 1;
}

/** Frontends by name; if an address occurs twice, the first entry wins. */
function byName({ protocol, frontends }: ServicePortContents): Map<string, FrontendContents> {
  const named = new Map<string, FrontendContents>();
  for (const frontend of frontends) {
    const { kind, address, port } = frontend;
    const place = kind === FrontendKind.NODE_PORT ? 'node' : address.join();
    const name = `${protocol}/${kind === FrontendKind.HOST_PORT ? 'host ' : ''}${place}:${port}`;
    if (!named.has(name)) named.set(name, frontend);
  }
  return named;
}

function keysOf({ cluster, local }: ServicePortContents): Set<string> {
  const keys = new Set<string>();
  const add = ({ key }: EndpointContents): void => {
    keys.add(key);
  };
  cluster.forEach(add);
  local.forEach(add);
  return keys;
}
