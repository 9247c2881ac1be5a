/**
 * Sends a pod's status to the API when it changes: one request at a time, the latest status wins, retried until it
 * succeeds.
 */
import type { Condition, Pod, PodStatus } from '../../api/types/objects.ts';
import type { PodState } from '../state.ts';
import type { PodManagerOptions } from './options.ts';
import { podStatus } from './status.ts';

const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 10_000;

export class StatusReporter {
  private readonly options: Pick<PodManagerOptions, 'reportStatus' | 'nodeIP' | 'log'>;
  private readonly pod: () => Pod;
  private readonly state: PodState;
  private conditions: readonly Condition[] | undefined;
  private wanted = '';
  private sent = '';
  private sending: Promise<void> | undefined;
  private closed = false;
  private wakeUp: (() => void) | undefined;

  constructor(options: Pick<PodManagerOptions, 'reportStatus' | 'nodeIP' | 'log'>, pod: () => Pod, state: PodState) {
    this.options = options;
    this.pod = pod;
    this.state = state;
  }

  publish(): void {
    const pod = this.pod();
    const conditions = this.conditions ?? pod.status?.conditions ?? [];
    const status = podStatus(pod, this.state, { hostIP: this.options.nodeIP, nowMs: Date.now(), conditions });
    this.conditions = status.conditions ?? [];
    const text = JSON.stringify(status);
    if (text === this.wanted || this.closed) return;
    this.wanted = text;
    this.sending ??= this.send();
  }

  /** Resolves when everything is sent, or after `timeoutMs`. */
  async settled(timeoutMs: number): Promise<void> {
    if (this.sending === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([this.sending, timeout]);
    clearTimeout(timer);
  }

  close(): void {
    this.closed = true;
    this.wakeUp?.();
  }

  private async send(): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (this.sent !== this.wanted && !this.closed) {
      const text = this.wanted;
      try {
        await this.options.reportStatus(this.pod(), JSON.parse(text) as PodStatus);
        this.sent = text;
        retryMs = FIRST_RETRY_MS;
      } catch (error) {
        if ((error as { code?: unknown }).code === 404) {
          this.sent = text; // The object no longer exists.
          continue;
        }
        this.options.log(`status of pod ${this.pod().metadata.name}: ${(error as Error).message}`);
        await this.sleep(retryMs);
        retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
      }
    }
    this.sending = undefined;
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
