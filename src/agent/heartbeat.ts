/** The node's heartbeat: its Ready condition at the API, renewed every few seconds. */
import type { ApiClient } from '../api/client/client.ts';

const PERIOD_MS = 3000;

export class Heartbeat {
  private readonly client: ApiClient;
  private readonly nodeName: string;
  private readonly log: (line: string) => void;
  private timer: NodeJS.Timeout | undefined;
  private readonly since = new Date().toISOString();
  private failing = false;

  constructor(client: ApiClient, nodeName: string, log: (line: string) => void) {
    this.client = client;
    this.nodeName = nodeName;
    this.log = log;
  }

  /** Send the first heartbeat now, then periodically. */
  async start(): Promise<void> {
    await this.beat();
    this.timer = setInterval(() => void this.beat(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  private async beat(): Promise<void> {
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'AgentReady',
      message: 'the agent is forwarding',
      lastHeartbeatTime: new Date().toISOString(),
      lastTransitionTime: this.since,
    };
    try {
      await this.client.patch(
        'Node',
        this.nodeName,
        { status: { conditions: [condition] } },
        { subresource: 'status', type: 'strategic' },
      );
      if (this.failing) this.log('the API answers again');
      this.failing = false;
    } catch (error) {
      if (!this.failing) this.log(`the API does not answer; forwarding continues: ${(error as Error).message}`);
      this.failing = true;
    }
  }
}
