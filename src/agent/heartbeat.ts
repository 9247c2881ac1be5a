/**
 * The node's heartbeat: its Ready condition at the API, renewed every few seconds. If the Node object was deleted while
 * the agent runs, the next heartbeat registers the node again, as kubelet does.
 *
 * Where kubelet runs, Ready and the object are its own; the agent reports NetworkUnavailable then, as flannel and Calico
 * do.
 */
import type { ApiClient } from '../api/client/client.ts';
import { ApiError } from '../api/errors.ts';
import { type NodeObject, WellKnown } from '../api/types/objects.ts';
import type { PodGroups } from '../runtime/pod/groups.ts';
import { nodeCapacity } from './node-capacity.ts';
import { nodeInfo } from './node-info.ts';

const PERIOD_MS = 3000;

type Enforcement = Pick<PodGroups, 'version' | 'missing'>;

export interface HeartbeatOptions {
  readonly client: ApiClient;
  /** The Node object as last seen. */
  readonly node: () => NodeObject;
  /** What prevents the node from forwarding; undefined if nothing does. */
  readonly obstacle: () => string | undefined;
  /** By which control groups requests and limits of pods are enforced; undefined where kubelet runs the pods. */
  readonly groups: (() => Enforcement) | undefined;
  /** Why the node is short of storage; undefined if it is not, or if kubelet runs the pods. */
  readonly storagePressure: () => string | undefined;
  readonly log: (line: string) => void;
}

/** The condition that says whether requests and limits of pods are enforced. */
function enforcement({ version, missing }: Enforcement): object {
  const enforced = missing === undefined;
  return {
    type: WellKnown.RESOURCES_ENFORCED,
    status: enforced ? 'True' : 'False',
    reason: enforced ? `CgroupV${version}` : 'NoControlGroups',
    message: missing ?? 'requests and limits of pods are enforced by control groups',
  };
}

/** The times of one condition. */
class ConditionTimes {
  private status: boolean;
  private since = new Date().toISOString();

  /** @param status what the condition counts as until it is reported for the first time */
  constructor(status: boolean) {
    this.status = status;
  }

  /** @param status of the condition now */
  report(status: boolean): { lastHeartbeatTime: string; lastTransitionTime: string } {
    const now = new Date().toISOString();
    if (status !== this.status) this.since = now;
    this.status = status;
    return { lastHeartbeatTime: now, lastTransitionTime: this.since };
  }
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
  private readonly groups: (() => Enforcement) | undefined;
  private readonly storagePressure: () => string | undefined;
  private readonly readyTimes = new ConditionTimes(true);
  private readonly pressureTimes = new ConditionTimes(false);
  private failing = false;
  private readonly size: ReturnType<typeof nodeCapacity>;

  constructor({ client, node, obstacle, groups, storagePressure, log }: HeartbeatOptions) {
    this.client = client;
    this.node = node;
    this.nodeName = node().metadata.name;
    this.obstacle = obstacle;
    this.groups = groups;
    this.storagePressure = storagePressure;
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
    const isTrue = this.groups ? ready : !ready;
    const condition = {
      type: this.groups ? 'Ready' : 'NetworkUnavailable',
      status: isTrue ? 'True' : 'False',
      reason: ready ? 'AgentReady' : 'NetworkObstructed',
      message: obstacle ?? 'the agent is forwarding',
      ...this.readyTimes.report(ready),
    };
    try {
      const conditions = this.groups ? [condition, enforcement(this.groups()), this.diskPressure()] : [condition];
      await this.report(conditions).catch(async (error: Error) => {
        if (!(error instanceof ApiError && error.code === 404 && this.groups)) throw error;
        await this.register();
        await this.report(conditions);
      });
      if (this.failing) this.log('the API is available again');
      this.failing = false;
    } catch (error) {
      if (!this.failing) this.log(`the API is unavailable; forwarding continues: ${(error as Error).message}`);
      this.failing = true;
    }
  }

  /** The condition that says whether the file system of the pods is nearly full. Type and reasons are kubelet's. */
  private diskPressure(): object {
    const message = this.storagePressure();
    const isShort = message !== undefined;
    return {
      type: WellKnown.DISK_PRESSURE,
      status: isShort ? 'True' : 'False',
      reason: isShort ? 'KubeletHasDiskPressure' : 'KubeletHasNoDiskPressure',
      message: message ?? 'kubelet has no disk pressure',
      ...this.pressureTimes.report(isShort),
    };
  }

  private report(conditions: readonly object[]): Promise<NodeObject> {
    const status = { conditions, ...(this.groups && { nodeInfo: this.info, ...this.size }) };
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
    });
    // kube-apiserver ignores the status of an object that is created.
    const addresses = status?.addresses ?? [];
    await this.client.patch('Node', name, { status: { addresses } }, { subresource: 'status', type: 'strategic' });
    this.log(`Node ${name} was deleted while its agent was running, and has been registered again`);
  }
}
