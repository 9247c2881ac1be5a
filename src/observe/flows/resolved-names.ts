/** Which names clients have got an address for, from the answers of name servers: names for addresses outside the cluster. */
import type { Flow } from '../hubble/flow.ts';
import type { FlowAddresses } from './addresses.ts';

/** Addresses that are remembered, of all clients together; the oldest is forgotten. */
const MAX_ADDRESSES = 10_000;
/** Names of one address: a host of many sites has more. */
const MAX_NAMES = 4;

const NONE: readonly string[] = [];

export class ResolvedNames {
  private readonly known = new Map<string, readonly string[]>();

  /** @param name may have a final dot */
  add(client: string, name: string, addresses: readonly string[]): void {
    const plain = name.replace(/\.$/, '').toLowerCase();
    if (plain === '') return;
    for (const address of addresses) {
      const key = `${client} ${address}`;
      const before = this.known.get(key) ?? NONE;
      if (before[0] === plain) continue;
      // Put at the end: the first of the map is the one that was resolved longest ago.
      this.known.delete(key);
      this.known.set(key, [plain, ...before.filter((one) => one !== plain)].slice(0, MAX_NAMES));
      if (this.known.size > MAX_ADDRESSES) this.known.delete(this.known.keys().next().value!);
    }
  }

  /** The names of the ends that are outside the cluster, the latest first, as the other end has looked them up. */
  ofEnds(
    source: string,
    destination: string,
    addresses: FlowAddresses,
  ): Pick<Flow, 'source_names' | 'destination_names'> {
    if (this.known.size === 0) return {};
    const of = (client: string, address: string): readonly string[] =>
      addresses.isOutside(address) ? (this.known.get(`${client} ${address}`) ?? NONE) : NONE;
    const [source_names, destination_names] = [of(destination, source), of(source, destination)];
    return {
      ...(source_names.length > 0 && { source_names }),
      ...(destination_names.length > 0 && { destination_names }),
    };
  }
}
