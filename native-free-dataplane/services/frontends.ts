/**
 * Writer's side of the service table's hash chains: frontends are inserted and removed while readers traverse them.
 *
 * A record is filled before the store that makes it the head of its chain. Removing one is a store into the link of its
 * predecessor; its own link stays, so a reader positioned on it can continue. It may be reused only after the grace
 * period (ServiceWriter).
 *
 * For every address of a service there is a marker record with key 0, reference-counted. Pods' host ports have none:
 * the other ports of their address are the node's.
 */
import type { FrontendContents } from './contents.ts';
import {
  chainOf,
  FRONTEND_WORDS,
  Frontend,
  FrontendKind,
  hostPortKey,
  type ServiceTable,
  serviceKey,
} from './table.ts';

/** A frontend in the table. */
export interface FrontendRecord {
  readonly number: number;
  /** The address as text, the key of its marker's reference count; undefined if it has no marker. */
  readonly address: string | undefined;
}

/** Inserts and removes the frontends of a table. Used by the writer only. */
export class FrontendChains {
  private readonly table: ServiceTable;
  private readonly markers = new Map<string, { readonly number: number; users: number }>();
  private readonly free: number[] = [];
  private next = 1;

  constructor(table: ServiceTable) {
    this.table = table;
  }

  /** Is there room for this many more frontends, each at an address of its own? */
  hasRoom(frontends: number): boolean {
    return this.free.length + (this.table.frontends.length / FRONTEND_WORDS - this.next) >= frontends * 2;
  }

  /** Insert a frontend that leads to a service port. There must be room. */
  insert(protocol: number, { address, port, kind }: FrontendContents, service: number): FrontendRecord {
    const target = (service << 3) | kind;
    if (kind === FrontendKind.HOST_PORT) {
      return { number: this.link(address, hostPortKey(protocol, port), target), address: undefined };
    }
    const text = address.join();
    const number = this.link(address, serviceKey(protocol, port), target);
    const marker = this.markers.get(text);
    if (marker) marker.users++;
    else this.markers.set(text, { number: this.link(address, 0, kind), users: 1 });
    return { number, address: text };
  }

  /** Change a frontend's service port or kind. */
  retarget({ number }: FrontendRecord, service: number, kind: FrontendKind): void {
    Atomics.store(this.table.frontends, number * FRONTEND_WORDS + Frontend.TARGET, (service << 3) | kind);
  }

  /** Remove a frontend. @returns numbers of the records to release after the grace period */
  remove({ number, address }: FrontendRecord): number[] {
    this.unlink(number);
    if (address === undefined) return [number];
    const marker = this.markers.get(address) as { number: number; users: number };
    marker.users--;
    if (marker.users > 0) return [number];
    this.markers.delete(address);
    this.unlink(marker.number);
    return [number, marker.number];
  }

  /** Release records that no reader can be positioned on any more. */
  release(numbers: readonly number[]): void {
    this.free.push(...numbers);
  }

  private link(address: Int32Array, key: number, target: number): number {
    const { chains, frontends } = this.table;
    const number = this.free.pop() ?? this.next++;
    const chain = chainOf(this.table, address, key);
    const at = number * FRONTEND_WORDS;
    frontends.set(address, at);
    frontends[at + Frontend.KEY] = key;
    frontends[at + Frontend.TARGET] = target;
    frontends[at + Frontend.NEXT] = chains[chain];
    Atomics.store(chains, chain, number);
    return number;
  }

  private unlink(number: number): void {
    const { chains, frontends } = this.table;
    const at = number * FRONTEND_WORDS;
    const chain = chainOf(this.table, frontends.subarray(at, at + 4), frontends[at + Frontend.KEY]);
    const next = frontends[at + Frontend.NEXT];
    if (chains[chain] === number) {
      Atomics.store(chains, chain, next);
      return;
    }
    let before = chains[chain] * FRONTEND_WORDS;
    while (frontends[before + Frontend.NEXT] !== number) before = frontends[before + Frontend.NEXT] * FRONTEND_WORDS;
    Atomics.store(frontends, before + Frontend.NEXT, next);
  }
}
