/**
 * Keeps the connection table's list of ports in use by the node's own sockets, so that no masqueraded connection gets
 * one of them. A masqueraded connection would shadow a listener on the same port toward its destination
 * (CVE-2021-3773), or collide with a client that chose its port itself (the kernel's NFS client: 665-1023). Sockets
 * with an ephemeral port are kept out of the range by ip_local_reserved_ports.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { localPorts } from '../../linux/socket-ports.ts';
import type { Part } from '../parts.ts';

const PERIOD_MS = 2000;
/** Maximum share of time spent reading: with thousands of sockets it takes milliseconds. */
const MAX_SHARE = 0.005;

export class HostPorts implements Part {
  private readonly table: Conntrack;
  private readonly read: () => ReadonlySet<number>;
  private timer: NodeJS.Timeout | undefined;

  /** @param read returns the ports in use; replaced in tests */
  constructor(table: Conntrack, read: () => ReadonlySet<number> = localPorts) {
    this.table = table;
    this.read = read;
  }

  start(): void {
    const startMs = performance.now();
    this.look();
    const tookMs = performance.now() - startMs;
    this.timer = setTimeout(() => this.start(), Math.max(PERIOD_MS, tookMs / MAX_SHARE));
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** Write the ports that are in use now. Each word is stored at once, so a port that stays in use is never missing. */
  look(): void {
    const { hostPorts } = this.table;
    const now = new Int32Array(hostPorts.length);
    for (const port of this.read()) now[port >>> 5]! |= 1 << (port & 31);
    hostPorts.set(now);
  }
}
