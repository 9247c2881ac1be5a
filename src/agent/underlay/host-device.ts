/**
 * A device between the node's kernel and the workers, dp0 or dp1: opened, and restored if somebody deletes it or changes a
 * property that frames depend on. The pipeline and the node's kernel send to its MAC; it uses no ARP and belongs to no bridge;
 * and its queue must not shape, because the packets in it have already been forwarded.
 */
import type { RouteSocket } from '../../linux/rtnetlink.ts';
import { sysctl } from '../../linux/sysctl.ts';
import { closeTap, type OffloadLevel, openTap, recreateTap, type Tap } from '../../linux/tap.ts';
import { QUEUE_FRAMES } from '../pods/ports.ts';
import { GSO_MAX_BYTES } from '../pods/super-packets.ts';

/** Queueing disciplines that neither delay nor police. One of them is the default of new devices (net.core.default_qdisc). */
const HARMLESS_QDISCS: readonly string[] = ['noqueue', 'mq', 'pfifo_fast', 'pfifo', 'fq_codel', 'fq', 'sfq', 'cake'];

/** Properties of the device. */
export interface HostDeviceOptions {
  readonly name: string;
  readonly queues: number;
  readonly offloads: OffloadLevel;
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  readonly mtu: number;
  /** The device, if it is open already. */
  readonly tap?: Tap | undefined;
}

/** @throws Error naming the device */
function open(options: Parameters<typeof openTap>[0]): Tap {
  try {
    return openTap(options);
  } catch (error) {
    throw new Error(`device ${options.name}: ${(error as Error).message}: does another device have this name?`);
  }
}

/** Opens the device, and checks its properties. */
export class HostDevice {
  readonly tap: Tap;
  private readonly options: HostDeviceOptions;
  private readonly routes: RouteSocket;
  /** The MTU that it must have. */
  mtu: number;
  private index = 0;

  /**
   * Open the device. It is persistent: while no agent holds it, packets to it are dropped, and their senders retransmit
   * them. Without the device the node's kernel would answer them itself, and reset connections.
   * @throws Error naming the device
   */
  constructor(options: HostDeviceOptions, routes: RouteSocket) {
    const { name, queues, offloads, mtu } = options;
    this.options = options;
    this.routes = routes;
    this.mtu = mtu;
    this.tap = options.tap ?? open({ name, queues, persist: true, offloads });
  }

  /** Set all of its properties, while the device is still down. @throws SystemError */
  configure(): void {
    const { routes } = this;
    // Going up, it would send multicast listener reports, which would only be dropped.
    sysctl(`net/ipv6/conf/${this.options.name}/disable_ipv6`, '1', true);
    this.index = routes.linkIndex(this.options.name);
    routes.changeLink(this.index, { mac: this.options.mac, mtu: this.mtu, queueLength: QUEUE_FRAMES, arp: false });
    routes.changeLink(this.index, { gsoMaxBytes: GSO_MAX_BYTES });
  }

  /** Change its MTU. @throws SystemError */
  setMtu(mtu: number): void {
    this.mtu = mtu;
    this.routes.changeLink(this.routes.linkIndex(this.options.name), { mtu });
  }

  /**
   * Recreate the device if it was deleted.
   * @returns whether that was needed
   * @throws Error if it cannot be recreated, for example because another device has its name
   */
  ensureExists(): boolean {
    const { name } = this.options;
    if (this.routes.findLink(name) === this.index) return false;
    try {
      recreateTap(this.tap, { persist: true, offloads: this.options.offloads });
    } catch (error) {
      throw new Error(`device ${name} was deleted and cannot be recreated: ${(error as Error).message}`);
    }
    this.configure();
    return true;
  }

  /** Restore dp0's properties. @returns how many had been changed @throws SystemError */
  ensureProperties(): number {
    const { routes, index, mtu } = this;
    const { mac } = this.options;
    const is = routes.readLink(index);
    let restored = 0;
    const restore = (differs: boolean, put: () => void): void => {
      if (!differs) return;
      put();
      restored++;
    };
    restore(!is.up, () => routes.changeLink(index, { up: true }));
    restore(is.mac !== mac, () => routes.changeLink(index, { mac }));
    restore(is.mtu !== mtu, () => routes.changeLink(index, { mtu }));
    restore(is.queueLength !== QUEUE_FRAMES, () => routes.changeLink(index, { queueLength: QUEUE_FRAMES }));
    restore(is.arp, () => routes.changeLink(index, { arp: false }));
    restore(is.master !== 0, () => routes.changeLink(index, { master: 0 }));
    restore(!HARMLESS_QDISCS.includes(is.qdisc) && is.qdisc !== 'noop', () => routes.resetQdisc(index));
    return restored;
  }

  /** Release the device. It stays for the next agent. */
  close(): void {
    closeTap(this.tap);
  }
}
