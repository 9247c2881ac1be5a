/**
 * Checks dp0 once a second, also while the API is unavailable: deleted rules and routes are restored, and a changed
 * underlay MTU is applied.
 */
import { monotonicMs } from '../../linux/clock.ts';
import { KernelEvents, NFTABLES } from '../../linux/kernel-events.ts';
import type { LiveConfig } from '../config.ts';
import type { Part } from '../parts.ts';
import type { HostNetwork } from './host-network.ts';

const PERIOD_MS = 1000;

/**
 * Shortest interval between two reads of the nftables rule set, which other programs may change many times a second.
 */
const FIREWALL_PERIOD_MS = 1000;

/** What is checked and repaired. */
export interface RepairOptions {
  readonly host: Pick<
    HostNetwork,
    'ensure' | 'ensureFirewall' | 'ensureLegacyFirewall' | 'readUnderlayMtu' | 'hasNodeAddress' | 'misrouted'
  >;
  readonly config: LiveConfig;
  readonly log: (line: string) => void;
}

/** Checks periodically, and after changes of nftables. */
export class Repair implements Part {
  private readonly options: RepairOptions;
  private timer: NodeJS.Timeout | undefined;
  private firewallEvents: KernelEvents | undefined;
  private firewallChanged = true;
  private firewallReadMs = 0;
  private firewallTrouble = '';
  private legacyTrouble = '';
  private readingLegacy = false;
  private trouble = '';
  private persists = false;

  constructor(options: RepairOptions) {
    this.options = options;
  }

  start(): void {
    this.firewallEvents = new KernelEvents(NFTABLES, () => {
      this.firewallChanged = true;
      void this.checkFirewall();
    });
    this.timer = setInterval(() => {
      this.check();
      void this.checkFirewall();
      void this.checkLegacyFirewall();
    }, PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.firewallEvents?.close();
  }

  /** What prevents the node from forwarding and could not be repaired in two rounds; undefined if nothing does. */
  get obstacle(): string | undefined {
    if (this.trouble !== '' && this.persists) return `dp0: ${this.trouble}`;
    return this.firewallTrouble || this.legacyTrouble || undefined;
  }

  /** Check nftables if it has changed; at most once per FIREWALL_PERIOD_MS, and always after the last change. */
  private async checkFirewall(): Promise<void> {
    const nowMs = monotonicMs();
    if (!this.firewallChanged || nowMs - this.firewallReadMs < FIREWALL_PERIOD_MS) return;
    this.firewallChanged = false;
    this.firewallReadMs = nowMs;
    const before = this.firewallTrouble;
    try {
      await this.options.host.ensureFirewall();
      this.firewallTrouble = '';
    } catch (error) {
      this.firewallTrouble = (error as Error).message;
    }
    if (this.firewallTrouble !== '' && this.firewallTrouble !== before) this.options.log(this.firewallTrouble);
  }

  /** Check iptables-legacy. The kernel does not announce its changes, so this is done in each round. */
  private async checkLegacyFirewall(): Promise<void> {
    if (this.readingLegacy) return;
    this.readingLegacy = true;
    const before = this.legacyTrouble;
    try {
      await this.options.host.ensureLegacyFirewall();
      this.legacyTrouble = '';
    } catch (error) {
      this.legacyTrouble = (error as Error).message;
    }
    this.readingLegacy = false;
    if (this.legacyTrouble !== '' && this.legacyTrouble !== before) this.options.log(this.legacyTrouble);
  }

  /** One round. A persistent failure is logged once. */
  check(): void {
    const { host, log } = this.options;
    let trouble = '';
    try {
      const repaired = host.ensure();
      if (repaired > 0) log(`${repaired} rules, routes or settings of dp0 were missing and have been restored`);
      this.applyUnderlayMtu(host.readUnderlayMtu());
      trouble = host.misrouted ?? '';
      if (!host.hasNodeAddress) trouble = `no device has the node's address ${this.options.config.current.nodeIP}`;
    } catch (error) {
      trouble = (error as Error).message;
    }
    if (trouble !== '' && trouble !== this.trouble) log(`dp0: ${trouble}`);
    this.persists = trouble !== '' && this.trouble !== '';
    this.trouble = trouble;
  }

  private applyUnderlayMtu(mtu: number): void {
    const { config, log } = this.options;
    const { underlayMtu, underlayDevice: device, underlayPrefix: prefix } = config.current;
    if (mtu === underlayMtu) return;
    config.change({ underlay: { device, prefix, mtu } });
    log(`the underlay's MTU is now ${mtu}, that of pods ${config.current.podMtu}`);
  }
}
