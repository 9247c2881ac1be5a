/** The cluster's pods as policies know them: one for each address. Of several that claim one, this node's own; else the last. */
import type { AddressedPod } from '../../compile/policies/kept-pods.ts';

interface Claim {
  readonly pod: AddressedPod;
  readonly isOwn: boolean;
}

export class PodsByAddress {
  private readonly pods: AddressedPod[] = [];
  /** A copy of `pods`, until they change. */
  private copy: readonly AddressedPod[] | undefined;
  /** Positions in `pods`, by address. */
  private readonly positions = new Map<string, number>();
  /** By address, and by who claims it. */
  private readonly claims = new Map<string, Map<string, Claim>>();
  private readonly claimed = new Map<string, string>();

  /** In no particular order; most stay where they are when others change. The same list while nothing changes. */
  get all(): readonly AddressedPod[] {
    this.copy ??= this.pods.slice();
    return this.copy;
  }

  /**
   * @param claimant a name for what claims the pod's address; it has one claim at a time
   * @param isOwn the pod has a device on this node
   */
  claim(claimant: string, pod: AddressedPod, isOwn: boolean): void {
    if (this.claimed.get(claimant) !== pod.ip) this.release(claimant);
    this.claimed.set(claimant, pod.ip);
    const claims = this.claims.get(pod.ip) ?? new Map<string, Claim>();
    this.claims.set(pod.ip, claims.set(claimant, { pod, isOwn }));
    this.settle(pod.ip, claims);
  }

  release(claimant: string): void {
    const ip = this.claimed.get(claimant);
    if (ip === undefined) return;
    this.claimed.delete(claimant);
    const claims = this.claims.get(ip)!;
    claims.delete(claimant);
    if (claims.size === 0) this.claims.delete(ip);
    this.settle(ip, claims);
  }

  private settle(ip: string, claims: ReadonlyMap<string, Claim>): void {
    const all = [...claims.values()];
    const pod = (all.find(({ isOwn }) => isOwn) ?? all.at(-1))?.pod;
    const position = this.positions.get(ip);
    this.copy = undefined;
    if (pod !== undefined) {
      if (position === undefined) this.positions.set(ip, this.pods.push(pod) - 1);
      else this.pods[position] = pod;
    } else if (position !== undefined) {
      this.positions.delete(ip);
      const last = this.pods.pop()!;
      if (position === this.pods.length) return;
      this.pods[position] = last;
      this.positions.set(last.ip, position);
    }
  }
}
