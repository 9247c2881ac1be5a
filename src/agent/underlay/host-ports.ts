/**
 * Keeps the connection table's list of ports that the node's own sockets have, so that no masqueraded connection is given
 * one of them: neither a listener's, which it would shadow toward its destination (CVE-2021-3773), nor that of a client
 * with a port of its choice (the kernel's NFS client: 665-1023). The node's other sockets are kept apart by ip_local_reserved_ports.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { localPorts } from '../../linux/socket-ports.ts';
import type { Part } from '../parts.ts';

const PERIOD_MS = 2000;
/** Thousands of sockets take milliseconds to read: at most this share of the time goes into it. */
const MAX_SHARE = 0.005;

export class HostPorts implements Part {
  private readonly table: Conntrack;
  private readonly read: () => ReadonlySet<number>;
  private timer: NodeJS.Timeout | undefined;

  /** @param read the ports in use; another source in tests */
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

  /** Write the ports in use now. Each word is stored whole, so that a port in use is never missing meanwhile. */
  look(): void {
    const { hostPorts } = this.table;
    const now = new Int32Array(hostPorts.length);
    for (const port of this.read()) now[port >>> 5]! |= 1 << (port & 31);
    hostPorts.set(now);
  }
}
