/**
 * Keeps the connection table's list of ports that no masqueraded connection may get because something else on the node
 * uses them: the node's own sockets, and pods by hostPort. A masqueraded connection would shadow a listener on the same
 * port toward its destination (CVE-2021-3773), or collide with a client that chose its port itself (the kernel's NFS
 * client: 665-1023). Sockets with an ephemeral port are kept out of the range by ip_local_reserved_ports.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { localPorts } from '../../linux/socket-ports.ts';
import type { Part } from '../parts.ts';

const PERIOD_MS = 2000;
/** Maximum share of time spent reading: with thousands of sockets it takes milliseconds. */
const MAX_SHARE = 0.005;

/** The sources of the list. */
export interface PortsInUseOptions {
  readonly table: Conntrack;
  /** Host ports of pods. */
  readonly hostPorts: () => readonly number[];
  readonly log: (line: string) => void;
  /** Returns the ports of the node's sockets; replaced in tests. */
  readonly read?: () => ReadonlySet<number>;
}

/** Updates the list periodically. */
export class PortsInUse implements Part {
  private readonly options: PortsInUseOptions;
  private timer: NodeJS.Timeout | undefined;
  private trouble = '';

  constructor(options: PortsInUseOptions) {
    this.options = options;
  }

  start(): void {
    this.round();
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** Write the ports in use, and schedule the next round. */
  private round(): void {
    const startMs = performance.now();
    this.update();
    const tookMs = performance.now() - startMs;
    this.timer = setTimeout(() => this.round(), Math.max(PERIOD_MS, tookMs / MAX_SHARE));
  }

  /** Write the ports in use now. If they cannot be read, the last list stays. */
  update(): void {
    let trouble = '';
    try {
      this.check();
    } catch (error) {
      trouble = (error as Error).message;
    }
    if (trouble !== '' && trouble !== this.trouble) {
      this.options.log(`the ports of the node's sockets cannot be read; the previous list remains in use: ${trouble}`);
    }
    this.trouble = trouble;
  }

  /** Write the ports that are in use now. Each word is stored at once, so a port that stays in use is never missing. */
  private check(): void {
    const { table, hostPorts, read = localPorts } = this.options;
    const now = new Int32Array(table.hostPorts.length);
    for (const port of [...read(), ...hostPorts()]) now[port >>> 5]! |= 1 << (port & 31);
    table.hostPorts.set(now);
  }
}
