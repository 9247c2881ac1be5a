/** The file that `dataplane status` reads: the running agent's choices for its node. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tap } from '../linux/tap.ts';
import type { LiveConfig, NodeConfig } from './config.ts';
import type { Part } from './parts.ts';

/** Writes the file when the agent starts, and when the MTU of pods changes. */
export class RunFile implements Part {
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
    this.write(this.config.current);
    this.config.follow(['podMtu'], (config) => this.write(config));
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
