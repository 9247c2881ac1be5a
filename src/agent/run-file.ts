/** The file that `dataplane status` reads: the running agent's choices for its node. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tap } from '../linux/tap.ts';
import type { LiveConfig, NodeConfig } from './config.ts';
import type { Part } from './parts.ts';

/** Until the file is written again, if that failed. */
const RETRY_MS = 5000;

/** Writes the file when the agent starts, and when the MTU of pods changes. */
export class RunFile implements Part {
  private retry: NodeJS.Timeout | undefined;
  private readonly directory: string;
  private readonly config: LiveConfig;
  /** When the counters of this agent were 0. */
  private readonly startedAt = new Date().toISOString();
  private readonly tap: Pick<Tap, 'tunnelOffload' | 'udpSegmentation'>;

  /** @param directory the node's state directory */
  constructor(directory: string, config: LiveConfig, tap: Pick<Tap, 'tunnelOffload' | 'udpSegmentation'>) {
    this.directory = directory;
    this.config = config;
    this.tap = tap;
  }

  start(): void {
    this.tryToWrite();
    this.config.follow(['podMtu'], () => this.tryToWrite());
  }

  close(): void {
    clearTimeout(this.retry);
  }

  /** A full disk must not keep the agent from starting: it is the agent that evicts the pod that filled it. */
  private tryToWrite(): void {
    clearTimeout(this.retry);
    try {
      this.write(this.config.current);
    } catch {
      this.retry = setTimeout(() => this.tryToWrite(), RETRY_MS);
    }
  }

  private write({ workers, overlay, podMtu, maxConntrack }: NodeConfig): void {
    const { tunnelOffload, udpSegmentation } = this.tap;
    const { startedAt } = this;
    const file = {
      pid: process.pid,
      startedAt,
      workers,
      overlay,
      tunnelOffload,
      udpSegmentation,
      mtu: podMtu,
      maxConntrack,
    };
    mkdirSync(this.directory, { recursive: true });
    writeFileSync(join(this.directory, 'dataplane.json'), JSON.stringify(file));
  }
}
