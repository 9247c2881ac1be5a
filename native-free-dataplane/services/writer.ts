/**
 * The agent's side of the service table: service ports put in force, changed and taken back. One writer per table (the
 * agent's main thread) for all but affinity and counters, which workers write; never called on the path.
 *
 * A change of endpoints is one store (the service port's block). A new address is entered after the block it leads to;
 * one that goes is taken out of its chain, and its record, like every block and number taken out of use, rests for a
 * grace period before it is used again, so that a packet in the middle of a look-up goes on over sound memory.
 *
 * Two service ports may ask for the same address and port (two Services with one external IP). The one that asked
 * first has it; when it lets go, the next one gets it.
 */

import { BlockPool, blockWords, sameBlock, writeBlock } from './blocks.ts';
import type { EndpointContents, FrontendContents, ServicePortContents } from './contents.ts';
import { EndpointIds } from './endpoints.ts';
import { FrontendChains, type FrontendRecord } from './frontends.ts';
import { nameHash } from './maglev.ts';
import { blockOf, FrontendKind, nodePortAt, type ServiceTable } from './table.ts';

/** What was taken out of use rests so long: far longer than any batch takes. */
const GRACE_MS = 1000;

/** An address and port that someone has, and who else would like it. */
interface Claim {
  /** Its record in the table; absent for a NodePort. */
  readonly record: FrontendRecord | undefined;
  /** Service ports that asked for it, in that order; the first has it. */
  readonly claimants: Published[];
}

interface Published {
  readonly name: string;
  readonly protocol: number;
  /** Number in the table. */
  readonly service: number;
  /** Names of the frontends it asked for. */
  frontends: Map<string, FrontendContents>;
  /** Keys of its endpoints and their ids. */
  endpoints: Map<string, number>;
}

/** Owner of a service table. */
export class ServiceWriter {
  private readonly table: ServiceTable;
  private readonly pool: BlockPool;
  private readonly chains: FrontendChains;
  private readonly ids: EndpointIds;
  private readonly ports = new Map<string, Published>();
  private readonly claims = new Map<string, Claim>();
  private readonly freeServices: number[] = [];
  private nextService = 1;
  private readonly resting: { readonly at: number; readonly release: () => void }[] = [];

  /** @param table one that nothing was written to yet */
  constructor(table: ServiceTable) {
    this.table = table;
    this.pool = new BlockPool(table.pool);
    this.chains = new FrontendChains(table);
    this.ids = new EndpointIds(table);
  }

  /** Service ports in force. */
  get size(): number {
    return this.ports.size;
  }

  /** Offset of a service port's block, 0 when it is not in force. */
  blockOf(name: string): number {
    const known = this.ports.get(name);
    return known ? blockOf(this.table, known.service) : 0;
  }

  /** Id of an endpoint of a service port, for counters; 0 when it is not in force. */
  endpointId(name: string, key: string): number {
    return this.ports.get(name)?.endpoints.get(key) ?? 0;
  }

  /**
   * Put a service port in force, new or changed, at all its addresses in one step.
   * @param nowMs monotonic milliseconds
   * @returns whether anything had to be written
   * @throws RangeError when the table is full; what was in force before stays
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

  /** Take a service port out of force. @returns false when it was not */
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

  /** Give back what has rested long enough. Done by every change; call it now and then when there are none. */
  reclaim(nowMs: number): void {
    let rested = 0;
    while (rested < this.resting.length && nowMs - this.resting[rested].at >= GRACE_MS)
      this.resting[rested++].release();
    if (rested > 0) this.resting.splice(0, rested);
  }

  private rest(nowMs: number, release: () => void): void {
    this.resting.push({ at: nowMs, release });
  }

  /** Everything that could run out, before anything is changed. */
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

  /** New addresses first, then those that go: a service that moves is never without one. */
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
  }

  private yield(port: Published, name: string, { port: number }: FrontendContents, nowMs: number): void {
    const { record, claimants } = this.claims.get(name) as Claim;
    claimants.splice(claimants.indexOf(port), 1);
    if (claimants.length > 0) {
      this.lead(name);
      return;
    }
    this.claims.delete(name);
    if (record) {
      const released = this.chains.remove(record);
      this.rest(nowMs, () => this.chains.release(released));
    } else {
      Atomics.store(this.table.nodePorts, nodePortAt(port.protocol, number), 0);
    }
  }

  /** Let an address lead to whoever has it now. */
  private lead(name: string): void {
    const { record, claimants } = this.claims.get(name) as Claim;
    const { service, protocol, frontends } = claimants[0];
    const { kind, port } = frontends.get(name) as FrontendContents;
    if (record) this.chains.retarget(record, service, kind);
    else Atomics.store(this.table.nodePorts, nodePortAt(protocol, port), service);
  }
}

/** Id of a service port in blocks and affinity: of its name alone, so that an agent's next life finds the same. */
export function servicePortId(name: string): number {
  return nameHash(name, 0x2f0b4c47) & 0x7fffffff || 1;
}

/** Frontends by a name of their own; an address named twice is what it was named first. */
function byName({ protocol, frontends }: ServicePortContents): Map<string, FrontendContents> {
  const named = new Map<string, FrontendContents>();
  for (const frontend of frontends) {
    const { kind, address, port } = frontend;
    const name = `${protocol}/${kind === FrontendKind.NODE_PORT ? 'node' : address.join()}:${port}`;
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
