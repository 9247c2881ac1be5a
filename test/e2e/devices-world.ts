/**
 * A node's devices and workers without agent, API or runtime: real TAPs in namespaces of its own, real tables, the real
 * pipeline. What the tests of devices share; everything is gone after `close`.
 */
import { spawnSync } from 'node:child_process';
import { NodeSync } from '../../src/agent/node-sync.ts';
import { PodNetwork } from '../../src/agent/pod-network.ts';
import { type NodeTables, openNodeTables, tableNames } from '../../src/agent/tables.ts';
import { WorkerPool } from '../../src/agent/worker-pool.ts';
import { monotonicMs } from '../../src/linux/clock.ts';
import { unlinkShared } from '../../src/linux/shm.ts';
import type { OffloadLevel } from '../../src/linux/tap.ts';

const PREFIX = `dlx${process.pid}`;
const NODE_CIDR = '10.244.1.0/24';

/** Why devices cannot be made here; undefined when they can. */
export function whyNoDevices(): string | undefined {
  if (process.getuid?.() !== 0) return 'it needs root';
  const probe = spawnSync('ip', ['tuntap', 'show']);
  return probe.status === 0 ? undefined : 'there is no iproute2 or no tun module';
}

/** Run a program in a namespace. @throws Error with what it said */
export function inNetns(netns: string, ...words: string[]): string {
  const ran = spawnSync('ip', ['netns', 'exec', netns, ...words], { encoding: 'utf8', timeout: 30_000 });
  if (ran.status !== 0) throw new Error(`${words.join(' ')}: ${ran.stderr}${ran.stdout}`);
  return ran.stdout;
}

/** A fresh network namespace with a name nobody else has. */
export function addNetns(name: string): string {
  const netns = `${PREFIX}-${name}`;
  const made = spawnSync('ip', ['netns', 'add', netns], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(made.stderr);
  return netns;
}

export function removeNetns(netns: string): void {
  spawnSync('ip', ['netns', 'delete', netns]);
}

export interface DeviceWorldOptions {
  readonly workers?: number;
  /** Best offloads to use, as an older kernel would allow them. */
  readonly offloads?: OffloadLevel;
  /** Module to run in the threads instead of the real one. */
  readonly entry?: URL;
}

export class DeviceWorld {
  readonly tables: NodeTables;
  readonly pool: WorkerPool;
  readonly network: PodNetwork;
  readonly crashes: string[] = [];
  readonly stalls: number[] = [];
  private readonly name: string;
  private readonly namespaces: string[] = [];

  constructor({ workers = 1, offloads, entry }: DeviceWorldOptions = {}) {
    this.name = PREFIX;
    this.tables = openNodeTables({ nodeName: this.name, workers, maxConntrack: 4096, nowMs: monotonicMs() });
    const sync = new NodeSync(this.tables.node, {
      nodeIP: '172.18.0.11',
      podCIDR: NODE_CIDR,
      clusterCIDR: '10.244.0.0/16',
      serviceCIDR: '10.96.0.0/12',
      overlay: 'vxlan',
      vxlanPort: 4789,
      vni: 1,
      podMtu: 1450,
      underlayMtu: 1500,
      portPolicy: 'open',
      nodePortRange: [30000, 32767],
      masqueradePorts: [32768, 49151],
    });
    this.pool = new WorkerPool({
      workers,
      tables: tableNames(this.name),
      features: { tunnelOffload: true, udpSegmentation: true },
      conntrack: this.tables.conntrack,
      fragments: this.tables.fragments,
      onCrash: (_, error) => this.crashes.push(error.message),
      onStall: (worker) => this.stalls.push(worker),
      ...(entry !== undefined && { entry }),
    });
    this.network = new PodNetwork({
      sync,
      pool: this.pool,
      workers,
      podCIDR: NODE_CIDR,
      podMtu: () => 1450,
      noTunnelOffload: false,
      ...(offloads !== undefined && { offloads }),
    });
  }

  /** A pod with a namespace of its own; its name, for inNetns. */
  async addPod(name: string, podIP: string): Promise<string> {
    const netnsName = addNetns(name);
    this.namespaces.push(netnsName);
    await this.network.attach(this.sandbox(name, podIP));
    return netnsName;
  }

  /** Take a pod's network away, its namespace after it. */
  async removePod(name: string, podIP: string): Promise<void> {
    await this.network.detach(this.sandbox(name, podIP));
    removeNetns(`${PREFIX}-${name}`);
  }

  private sandbox(name: string, podIP: string) {
    const netnsName = `${PREFIX}-${name}`;
    return {
      namespace: 'default',
      name,
      uid: name,
      netnsName,
      netnsPath: `/run/netns/${netnsName}`,
      podIP,
      pausePid: 0,
    };
  }

  async close(): Promise<void> {
    await this.pool.stop();
    this.tables.close(true);
    unlinkShared(tableNames(this.name).control);
    for (const netns of this.namespaces) removeNetns(netns);
  }
}
