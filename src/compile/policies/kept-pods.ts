/** The cluster's pods with what follows for each, kept while the pod stays the same. */
import type { PodRow } from '../../../native-free-dataplane/policies/contents.ts';
import { ipWords, parseIp } from '../../net/address.ts';
import { type AddressBlocks, type Bounds, mappedValue } from './address-blocks.ts';
import type { ClassPolicies, KeptPod } from './class-of-pods.ts';
import type { Identities } from './identities.ts';
import type { PolicyPod } from './pod-classes.ts';

export interface AddressedPod extends PolicyPod {
  readonly ip: string;
}

/** With more new pods than this, sorting is faster than entering each. */
const MANY = 64;

export class KeptPods {
  /** In no particular order; a row keeps its place while others come and go, as far as possible. */
  readonly rows: PodRow[] = [];
  private readonly all: KeptPod[] = [];
  private readonly byPod = new Map<AddressedPod, KeptPod>();
  private readonly byAddress: KeptPod[] = [];
  /** Pods whose rows are to be renewed. */
  private readonly stale = new Set<KeptPod>();

  /** @returns the class it was of */
  remove(pod: AddressedPod): ClassPolicies {
    const kept = this.byPod.get(pod)!;
    this.byPod.delete(pod);
    this.stale.delete(kept);
    kept.ofClass.pods.delete(kept);
    this.byAddress.splice(this.indexOf(kept), 1);
    const last = this.all.pop()!;
    const row = this.rows.pop()!;
    if (last !== kept) {
      last.at = kept.at;
      this.all[last.at] = last;
      this.rows[last.at] = row;
    }
    return kept.ofClass;
  }

  /** @param classOf the class of a pod */
  add(pods: readonly AddressedPod[], classOf: (pod: PolicyPod) => ClassPolicies): void {
    for (const pod of pods) {
      const ip = parseIp(pod.ip)!;
      const ofClass = classOf(pod);
      const at = this.all.length;
      const kept: KeptPod = { value: mappedValue(ip), ofClass, identity: undefined, at };
      this.byPod.set(pod, kept);
      this.all.push(kept);
      this.rows.push({ address: ipWords(ip), identity: 0, ingress: 0, egress: 0 });
      ofClass.pods.add(kept);
      this.stale.add(kept);
      if (pods.length > MANY) this.byAddress.push(kept);
      else this.byAddress.splice(this.firstFrom(kept.value), 0, kept);
    }
    if (pods.length > MANY) this.byAddress.sort((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  }

  /** Other blocks than before contain these addresses. */
  regroup({ first, last }: Bounds): void {
    for (let i = this.firstFrom(first); i < this.byAddress.length && this.byAddress[i]!.value <= last; i++) {
      const kept = this.byAddress[i]!;
      kept.identity = undefined;
      this.stale.add(kept);
    }
  }

  /** The groups of these classes changed. */
  renewRowsOf(classes: Iterable<ClassPolicies>): void {
    for (const { pods } of classes) for (const kept of pods) this.stale.add(kept);
  }

  /** Give each pod its identity. */
  identify(identities: Identities, blocks: AddressBlocks): void {
    for (const kept of this.stale) {
      kept.identity ??= identities.of(kept.ofClass.podClass, blocks.containing(kept.value));
    }
  }

  /** Renew the rows that are not up to date. */
  renew(): void {
    for (const { at, identity, ofClass } of this.stale) {
      const before = this.rows[at]!;
      const row = {
        address: before.address,
        identity: identity!.number,
        ingress: ofClass.groups.ingress?.number ?? 0,
        egress: ofClass.groups.egress?.number ?? 0,
      };
      const isSame = row.identity === before.identity && row.ingress === before.ingress && row.egress === before.egress;
      if (!isSame) this.rows[at] = row;
    }
    this.stale.clear();
  }

  /** Position in byAddress of the first pod that does not come before the address. */
  private firstFrom(value: bigint): number {
    let [low, high] = [0, this.byAddress.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.byAddress[middle]!.value < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private indexOf(kept: KeptPod): number {
    let i = this.firstFrom(kept.value);
    while (this.byAddress[i] !== kept) i++;
    return i;
  }
}
