/** The sysctls that the data plane needs, and the ports that the kernel must not assign to the node's own sockets. */
import { type PortRange, readSysctl, releasePorts, reservePorts, sysctl, unreserved } from '../../linux/sysctl.ts';
import type { FormerState } from './former-state.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { HOST_DEVICE, OVERLAY_DEVICE } from './rule-order.ts';

/** A setting of the node's network namespace. */
export interface Setting {
  /** Path under /proc/sys. */
  readonly name: string;
  readonly value: string;
  /** Some kernels do not have it. */
  readonly optional?: boolean;
}

const OURS = `net/ipv4/conf/${HOST_DEVICE}`;

/** The settings, in the order in which they are made. */
export function wantedSettings({ underlayDevice }: Pick<HostNetworkOptions, 'underlayDevice'>): Setting[] {
  return [
    { name: 'net/ipv4/ip_forward', value: '1' },
    // Each device has a switch of its own, which ip_forward sets for all of them only when it changes.
    { name: `${OURS}/forwarding`, value: '1' },
    { name: `net/ipv4/conf/${underlayDevice}/forwarding`, value: '1', optional: true },
    { name: 'net/ipv4/conf/all/rp_filter', value: '0' },
    // A packet to a NodePort without a Service passes through dp0 to a socket of the node. Early demux would attach
    // it to that socket before routing, and ip_forward drops packets with a socket (linux skb->sk).
    { name: 'net/ipv4/tcp_early_demux', value: '0', optional: true },
    { name: 'net/ipv4/udp_early_demux', value: '0', optional: true },
    { name: `${OURS}/rp_filter`, value: '0' },
    // dp0 hands packets to the kernel that have the node's own address, or a loopback address, as their source.
    { name: `${OURS}/accept_local`, value: '1' },
    { name: `${OURS}/route_localnet`, value: '1' },
    { name: `${OURS}/send_redirects`, value: '0' },
    { name: 'net/ipv4/conf/all/send_redirects', value: '0' },
    // The kernel sends errors about masqueraded packets to an address of the node. Its default of one per second and
    // destination is too low for all pods together. The limit of the namespace, 1000 per second, stays
    // (icmp_msgs_per_sec). 20 ms is a whole number of ticks at every HZ; other values are read back rounded, and would
    // be written again in each round.
    { name: 'net/ipv4/icmp_ratelimit', value: '20', optional: true },
    { name: `net/ipv4/conf/${underlayDevice}/rp_filter`, value: '0', optional: true },
    { name: `net/ipv6/conf/${HOST_DEVICE}/disable_ipv6`, value: '1', optional: true },
    { name: `net/ipv6/conf/${OVERLAY_DEVICE}/disable_ipv6`, value: '1', optional: true },
  ];
}

/** Is it a setting of dp0 or dp1, which goes with the device? */
export const isOfOurDevices = ({ name }: Setting): boolean =>
  name.includes(`/${HOST_DEVICE}/`) || name.includes(`/${OVERLAY_DEVICE}/`);

type Options = Pick<HostNetworkOptions, 'underlayDevice' | 'masqueradePorts' | 'former'>;

/** Sets the sysctls of the network namespace in which it is called. */
export class HostSysctls {
  private readonly settings: readonly Setting[];
  private readonly masqueradePorts: PortRange;
  private readonly former: FormerState | undefined;
  private isFormerKept = false;
  private hostPorts: readonly number[] = [];
  /** Host ports that were reserved by this object, and not by the operator. */
  private readonly reserved = new Set<number>();

  constructor(options: Options) {
    this.settings = wantedSettings(options);
    this.masqueradePorts = options.masqueradePorts;
    this.former = options.former;
  }

  /** Reserve the pods' host ports: replies to a connection of the node with such a source port would go to the pod. */
  setHostPorts(ports: readonly number[]): void {
    this.hostPorts = ports;
    const gone = [...this.reserved].filter((port) => !ports.includes(port));
    if (gone.length > 0) releasePorts(gone.map((port) => [port, port]));
    for (const port of gone) this.reserved.delete(port);
  }

  /** Set all sysctls and reserve all ports. @returns how many were different */
  ensure(): number {
    this.keepFormer();
    let changed = 0;
    for (const { name, value, optional } of this.settings) changed += sysctl(name, value, optional);
    return changed + this.reserve([this.masqueradePorts]) + this.reserveHostPorts();
  }

  /**
   * All of them first: setting one of them, ip_forward, changes others. And only once: what is found later is interference,
   * not the state before.
   */
  private keepFormer(): void {
    if (this.former === undefined || this.isFormerKept) return;
    this.isFormerKept = true;
    const values: Record<string, string> = {};
    for (const setting of this.settings) {
      const now = readSysctl(setting.name);
      if (now !== undefined && now !== setting.value && !isOfOurDevices(setting)) values[setting.name] = now;
    }
    this.former.keepSysctls(values);
  }

  private reserve(ranges: readonly PortRange[]): number {
    const fresh = unreserved(ranges);
    this.former?.keepUnreserved(fresh);
    reservePorts(fresh);
    return fresh.length;
  }

  private reserveHostPorts(): number {
    const fresh = unreserved(this.hostPorts.map((port) => [port, port]));
    const changed = this.reserve(fresh);
    for (const [port] of fresh) this.reserved.add(port);
    return changed;
  }
}
