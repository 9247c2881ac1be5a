/**
 * The addresses of this node's pods: the node's pod network without its first address, the gateway's, and the broadcast
 * address. Addresses are assigned in turn, so that one that has just been released is used again last: connections of
 * its former pod may still be open elsewhere.
 */
import { type Cidr, contains, parseCidr, parseIp, printIp } from '../../net/address.ts';

export class AddressPool {
  private readonly network: Cidr;
  private readonly taken = new Set<bigint>();
  private next: bigint;

  /** @throws RangeError for text that is not a network */
  constructor(podCIDR: string) {
    const network = parseCidr(podCIDR);
    if (network === undefined) throw new RangeError(`${podCIDR}: expected a network such as 10.244.1.0/24`);
    this.network = network;
    this.next = this.firstUsable;
  }

  private get firstUsable(): bigint {
    return this.network.first + 2n;
  }

  private get lastUsable(): bigint {
    return this.network.family === 4 ? this.network.last - 1n : this.network.last;
  }

  get isExhausted(): boolean {
    return BigInt(this.taken.size) > this.lastUsable - this.firstUsable;
  }

  /** A free address; undefined if there is none. */
  assign(): string | undefined {
    if (this.isExhausted) return undefined;
    let value = this.next;
    while (this.taken.has(value)) value = this.after(value);
    this.taken.add(value);
    this.next = this.after(value);
    return this.print(value);
  }

  /**
   * Take a certain address.
   * @returns why it cannot be had; undefined if it is taken now
   */
  take(text: string): string | undefined {
    const ip = parseIp(text);
    if (ip === undefined) return `${text} is not an address`;
    const { value } = ip;
    if (!contains(this.network, ip) || value < this.firstUsable || value > this.lastUsable) {
      return `${text} is not an address of this node's pods`;
    }
    if (this.taken.has(value)) return `${text} is in use`;
    this.taken.add(value);
    return undefined;
  }

  release(text: string): void {
    const ip = parseIp(text);
    if (ip !== undefined) this.taken.delete(ip.value);
  }

  private after(value: bigint): bigint {
    return value >= this.lastUsable ? this.firstUsable : value + 1n;
  }

  private print(value: bigint): string {
    return printIp({ family: this.network.family, value });
  }
}
