/** The sysctls that the data plane needs, and the ports that the kernel must not assign to the node's own sockets. */
import { releasePorts, reservePorts, sysctl } from '../../linux/sysctl.ts';
import type { HostNetworkOptions } from './host-options.ts';
import { HOST_DEVICE } from './rule-order.ts';

/** Sets the sysctls of the network namespace in which it is called. */
export class HostSysctls {
  private readonly options: Pick<HostNetworkOptions, 'underlayDevice' | 'masqueradePorts'>;
  private hostPorts: readonly number[] = [];
  /** Host ports that were reserved by this object, and not by the operator. */
  private readonly reserved = new Set<number>();

  constructor(options: Pick<HostNetworkOptions, 'underlayDevice' | 'masqueradePorts'>) {
    this.options = options;
  }

  /** Reserve the pods' host ports: replies to a connection of the node with such a source port would go to the pod. */
  setHostPorts(ports: readonly number[]): void {
    this.hostPorts = ports;
    const gone = new Set([...this.reserved].filter((port) => !ports.includes(port)));
    if (gone.size > 0) releasePorts(gone);
    for (const port of gone) this.reserved.delete(port);
  }

  /** Set all sysctls and reserve all ports. @returns how many were different */
  ensure(): number {
    const { underlayDevice, masqueradePorts } = this.options;
    const ours = `net/ipv4/conf/${HOST_DEVICE}`;
    return (
      sysctl('net/ipv4/ip_forward', '1') +
      // Each device has a switch of its own, which ip_forward sets for all of them only when it changes.
      sysctl(`${ours}/forwarding`, '1') +
      sysctl(`net/ipv4/conf/${underlayDevice}/forwarding`, '1', true) +
      sysctl('net/ipv4/conf/all/rp_filter', '0') +
      // A packet to a NodePort without a Service passes through dp0 to a socket of the node. Early demux would attach
      // it to that socket before routing, and ip_forward drops packets with a socket (linux skb->sk).
      sysctl('net/ipv4/tcp_early_demux', '0', true) +
      sysctl('net/ipv4/udp_early_demux', '0', true) +
      sysctl(`${ours}/rp_filter`, '0') +
      // dp0 hands packets to the kernel that have the node's own address, or a loopback address, as their source.
      sysctl(`${ours}/accept_local`, '1') +
      sysctl(`${ours}/route_localnet`, '1') +
      sysctl(`${ours}/send_redirects`, '0') +
      sysctl('net/ipv4/conf/all/send_redirects', '0') +
      // The kernel sends errors about masqueraded packets to an address of the node. Its default of one per second and
      // destination is too low for all pods together. The limit of the namespace, 1000 per second, stays
      // (icmp_msgs_per_sec). 20 ms is a whole number of ticks at every HZ; other values are read back rounded, and would
      // be written again in each round.
      sysctl('net/ipv4/icmp_ratelimit', '20', true) +
      sysctl(`net/ipv4/conf/${underlayDevice}/rp_filter`, '0', true) +
      sysctl(`net/ipv6/conf/${HOST_DEVICE}/disable_ipv6`, '1', true) +
      reservePorts([masqueradePorts]).length +
      this.reserveHostPorts()
    );
  }

  private reserveHostPorts(): number {
    const fresh = reservePorts(this.hostPorts.map((port) => [port, port]));
    for (const [port] of fresh) this.reserved.add(port);
    return fresh.length;
  }
}
