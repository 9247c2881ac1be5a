/**
 * Keeps the connection table's two lists of ports in use on the node.
 *
 * The first are ports that no masqueraded connection may get: those of the node's own sockets, and pods' host ports. A
 * masqueraded connection would shadow a listener on the same port toward its destination (CVE-2021-3773), or collide with a
 * client that chose its port itself (the kernel's NFS client: 665-1023). Sockets with an ephemeral port are kept out of the
 * range by ip_local_reserved_ports. The second are ports of the node's own sockets, whose connections continue when a
 * Service or a pod gets the port (native-free-dataplane/stages/service.ts).
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { type LocalPorts, localPorts } from '../../linux/socket-ports.ts';
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
  readonly read?: () => LocalPorts;
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
    const { open, loopback } = read();
    table.socketPorts.set(bitsOf([...open, ...loopback], table.socketPorts.length));
    table.hostPorts.set(bitsOf([...open, ...hostPorts()], table.hostPorts.length));
  }
}

function bitsOf(ports: readonly number[], words: number): Int32Array {
  const bits = new Int32Array(words);
  for (const port of ports) bits[port >>> 5]! |= 1 << (port & 31);
  return bits;
}
