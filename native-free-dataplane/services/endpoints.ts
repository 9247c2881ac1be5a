/**
 * Ids of endpoints: constant while the endpoint belongs to its service port and, nearly always, across a restart of the
 * agent, because the search for an id starts at the hash of its names. Connections in the conntrack table refer to
 * these ids over a restart.
 */
import { MAX_WORKERS } from '../shared/layout.ts';
import { nameHash } from './maglev.ts';
import type { ServiceTable } from './table.ts';

const FREE = 0;
const IN_USE = 1;
/** Free, but its counters are not zero. Others are not touched: reading a page of shared memory allocates it. */
const USED_BEFORE = 2;

/** Assigns and releases the endpoint ids of a table. Used by the writer only. */
export class EndpointIds {
  private readonly table: ServiceTable;
  /** FREE, IN_USE or USED_BEFORE by id. Id 0 means "none". */
  private readonly used: Uint8Array;
  private inUse = 0;

  constructor(table: ServiceTable) {
    this.table = table;
    this.used = new Uint8Array(table.endpoints);
    this.used[0] = IN_USE;
  }

  /**
   * Ids for the endpoints of a service port; endpoints that already have one keep it.
   * @returns undefined if too few are left; nothing is changed then
   */
  assign(
    name: string,
    keys: ReadonlySet<string>,
    known?: ReadonlyMap<string, number>,
  ): Map<string, number> | undefined {
    let missing = 0;
    for (const key of keys) if (!known?.has(key)) missing++;
    if (this.inUse + missing >= this.used.length) return undefined;
    const ids = new Map<string, number>();
    for (const key of keys) ids.set(key, known?.get(key) ?? this.take(`${name} ${key}`));
    return ids;
  }

  /** Release ids, except those that are also in `kept`. */
  release(ids: ReadonlyMap<string, number>, kept?: ReadonlyMap<string, number>): void {
    for (const [key, id] of ids) {
      if (kept?.has(key)) continue;
      this.used[id] = USED_BEFORE;
      this.inUse--;
    }
  }

  private take(name: string): number {
    const { used } = this;
    let id = nameHash(name, 0x811c9dc5) % used.length;
    while (used[id] === IN_USE) id = id + 1 === used.length ? 1 : id + 1;
    if (used[id] !== FREE) this.clearCounters(id);
    used[id] = IN_USE;
    this.inUse++;
    return id;
  }

  private clearCounters(id: number): void {
    const { connections, packets, endpoints } = this.table;
    connections[id] = 0;
    for (let worker = 0; worker < MAX_WORKERS; worker++) packets[worker * endpoints + id] = 0;
  }
}
