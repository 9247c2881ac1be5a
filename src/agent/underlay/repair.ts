/**
 * Looks after dp0 once a second, whatever the API does: rules and routes that somebody deleted are put back, and a changed
 * MTU of the underlay becomes the node's.
 */
import type { LiveConfig } from '../config.ts';
import type { Part } from '../parts.ts';
import type { HostNetwork } from './host-network.ts';

const PERIOD_MS = 1000;

export interface RepairOptions {
  readonly host: Pick<HostNetwork, 'ensure' | 'readUnderlayMtu'>;
  readonly config: LiveConfig;
  readonly log: (line: string) => void;
}

export class Repair implements Part {
  private readonly options: RepairOptions;
  private timer: NodeJS.Timeout | undefined;
  private trouble = '';

  constructor(options: RepairOptions) {
    this.options = options;
  }

  start(): void {
    this.timer = setInterval(() => this.look(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** One round. A failure that lasts is logged once. */
  look(): void {
    const { host, log } = this.options;
    let trouble = '';
    try {
      const repaired = host.ensure();
      if (repaired > 0) log(`${repaired} rules or routes of dp0 were missing and are back`);
      this.followUnderlay(host.readUnderlayMtu());
    } catch (error) {
      trouble = (error as Error).message;
    }
    if (trouble !== '' && trouble !== this.trouble) log(`dp0: ${trouble}`);
    this.trouble = trouble;
  }

  private followUnderlay(mtu: number): void {
    const { config, log } = this.options;
    const { underlayMtu, underlayDevice: device, underlayPrefix: prefix } = config.current;
    if (mtu === underlayMtu) return;
    config.change({ underlay: { device, prefix, mtu } });
    log(`the underlay's MTU is ${mtu} now, the pods' ${config.current.podMtu}`);
  }
}
