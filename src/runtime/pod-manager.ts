/** Interface while the runtime is being put together. */
import type { Pod } from '../api/types.ts';
import type { PodManagerOptions } from './options.ts';

export type { PodManagerOptions, PodNetwork } from './options.ts';
export type { Sandbox } from './sandbox.ts';

export class PodManager {
  readonly options: PodManagerOptions;

  constructor(options: PodManagerOptions) {
    this.options = options;
  }

  /** Take over what an earlier agent process of this node left running; `sync` does it too when it was not called. */
  async adopt(): Promise<void> {}

  /** The pods bound to this node, all of them. Returns at once; the work is done in the background. */
  sync(_pods: readonly Pod[]): void {}

  /** @throws Error when there is no such pod or container here */
  async restartContainer(_namespace: string, _pod: string, _container?: string): Promise<void> {}

  /** Stop working. `keepPods`: pods and containers live on for the next manager; else all are taken away. */
  async close(_options: { keepPods: boolean }): Promise<void> {}
}
