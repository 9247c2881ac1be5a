/**
 * Index over the store of pods by address and by node. The address is in the annotation `dataplane.dev/pod-ip`, so it
 * is never allocated twice and survives restarts.
 *
 * It is made when it is first used, which is after the API answers: it needs every pod, and parsing them takes longer than
 * the rest of a controller's start.
 */
import type { Store } from '../../api/store/store.ts';
import { type Pod, WellKnown } from '../../api/types/objects.ts';
import { type Cidr, printIp } from '../../net/address.ts';
import { keyOf } from '../work-queue.ts';

/** How long an address is not reused after its pod is gone: connections to the old pod must not reach a new one. */
const REST_MS = 60_000;

const NOBODY: ReadonlySet<string> = new Set();

export class PodAddresses {
  private readonly owners = new Map<string, string>();
  private readonly freedAt = new Map<string, number>();
  private readonly byNode = new Map<string, Set<string>>();

  private readonly store: Store;
  private made = false;

  constructor(store: Store) {
    this.store = store;
    store.onCommit('Pod', ({ type, object, old }) => {
      // Before it is made, only the addresses of pods that have gone are noted: the others are in the store.
      if (old !== undefined && (this.made || type === 'DELETED')) this.release(old, type === 'DELETED');
      if (this.made && type !== 'DELETED') this.hold(object);
    });
  }

  private make(): void {
    if (this.made) return;
    this.made = true;
    for (const pod of this.store.list('Pod')) this.hold(pod);
  }

  ownerOf(ip: string): string | undefined {
    this.make();
    return this.owners.get(ip);
  }

  /** Keys of the pods bound to a node. */
  podsOn(node: string): ReadonlySet<string> {
    this.make();
    return this.byNode.get(node) ?? NOBODY;
  }

  /** All addresses in use, to check a network against before it is allocated to a node. */
  addresses(): IterableIterator<[ip: string, podKey: string]> {
    this.make();
    return this.owners.entries();
  }

  /**
   * The lowest address of a node's network that was not in use recently, else the one released longest ago; undefined
   * if all are in use. The network, gateway (first) and broadcast addresses are never allocated.
   */
  free(network: Cidr, nowMs: number): string | undefined {
    this.make();
    let oldest: string | undefined;
    let oldestMs = Number.POSITIVE_INFINITY;
    for (let value = network.first + 2n; value < network.last; value++) {
      const ip = printIp({ family: network.family, value });
      if (this.owners.has(ip)) continue;
      const freed = this.freedAt.get(ip);
      if (freed === undefined || nowMs - freed > REST_MS) {
        this.freedAt.delete(ip);
        return ip;
      }
      if (freed < oldestMs) {
        oldest = ip;
        oldestMs = freed;
      }
    }
    return oldest;
  }

  private hold(pod: Pod): void {
    const key = keyOf(pod);
    const ip = podIpOf(pod);
    if (ip !== undefined) this.owners.set(ip, key);
    const node = pod.spec.nodeName;
    if (!node) return;
    const pods = this.byNode.get(node) ?? new Set();
    pods.add(key);
    this.byNode.set(node, pods);
  }

  private release(pod: Pod, gone: boolean): void {
    const key = keyOf(pod);
    const ip = podIpOf(pod);
    if (ip !== undefined && (!this.made || this.owners.get(ip) === key)) {
      this.owners.delete(ip);
      if (gone) this.freedAt.set(ip, Date.now());
    }
    const pods = this.byNode.get(pod.spec.nodeName ?? '');
    pods?.delete(key);
    if (pods?.size === 0) this.byNode.delete(pod.spec.nodeName!);
  }
}

/** The address IPAM gave the pod. Only IPAM can write it (admission.ts), so it is valid. */
export function podIpOf(pod: Pod): string | undefined {
  return pod.metadata.annotations?.[WellKnown.POD_IP];
}
