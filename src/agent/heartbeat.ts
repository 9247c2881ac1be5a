/**
 * The node's heartbeat: its Ready condition at the API, renewed every few seconds. If the Node object was deleted while
 * the agent runs, the next heartbeat registers the node again, as kubelet does.
 */
import type { ApiClient } from '../api/client/client.ts';
import { ApiError } from '../api/errors.ts';
import type { NodeObject } from '../api/types/objects.ts';
import { nodeCapacity } from './node-capacity.ts';
import { nodeInfo } from './node-info.ts';

const PERIOD_MS = 3000;

export interface HeartbeatOptions {
  readonly client: ApiClient;
  /** The Node object as last seen. */
  readonly node: () => NodeObject;
  /** What prevents the node from forwarding; undefined if nothing does. */
  readonly obstacle: () => string | undefined;
  readonly log: (line: string) => void;
}

/** Sends the heartbeats of one node. */
export class Heartbeat {
  private readonly client: ApiClient;
  private readonly nodeName: string;
  private readonly node: () => NodeObject;
  private readonly log: (line: string) => void;
  private readonly info = nodeInfo();
  private timer: NodeJS.Timeout | undefined;
  private readonly obstacle: () => string | undefined;
  private since = new Date().toISOString();
  private wasReady = true;
  private failing = false;
  private readonly size: ReturnType<typeof nodeCapacity>;

  constructor({ client, node, obstacle, log }: HeartbeatOptions) {
    this.client = client;
    this.node = node;
    this.nodeName = node().metadata.name;
    this.obstacle = obstacle;
    this.log = log;
    this.size = nodeCapacity(node().spec?.podCIDR ?? '');
  }

  /** Send the first heartbeat now, then periodically. */
  async start(): Promise<void> {
    await this.beat();
    this.timer = setInterval(() => void this.beat(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Send one heartbeat. Never rejects; failures are logged. */
  async beat(): Promise<void> {
    const obstacle = this.obstacle();
    const ready = obstacle === undefined;
    if (ready !== this.wasReady) this.since = new Date().toISOString();
    this.wasReady = ready;
    const condition = {
      type: 'Ready',
      status: ready ? 'True' : 'False',
      reason: ready ? 'AgentReady' : 'NetworkObstructed',
      message: obstacle ?? 'the agent is forwarding',
      lastHeartbeatTime: new Date().toISOString(),
      lastTransitionTime: this.since,
    };
    try {
      await this.report(condition).catch(async (error: Error) => {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
        await this.register();
        await this.report(condition);
      });
      if (this.failing) this.log('the API is available again');
      this.failing = false;
    } catch (error) {
      if (!this.failing) this.log(`the API is unavailable; forwarding continues: ${(error as Error).message}`);
      this.failing = true;
    }
  }

  private report(condition: object): Promise<NodeObject> {
    const status = { conditions: [condition], nodeInfo: this.info, ...this.size };
    return this.client.patch('Node', this.nodeName, { status }, { subresource: 'status', type: 'strategic' });
  }

  /** Create the Node object again with the values it had: labels, annotations, addresses, pod network. */
  private async register(): Promise<void> {
    const { metadata, spec, status } = this.node();
    const { name, labels, annotations } = metadata;
    await this.client.create<NodeObject>({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, ...(labels && { labels }), ...(annotations && { annotations }) },
      spec: { ...(spec?.podCIDR && { podCIDR: spec.podCIDR }), ...(spec?.podCIDRs && { podCIDRs: spec.podCIDRs }) },
      status: { ...(status?.addresses && { addresses: status.addresses }) },
    });
    this.log(`Node ${name} was deleted while its agent was running, and has been registered again`);
  }
}
