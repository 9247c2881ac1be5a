/**
 * A node's devices and workers without agent, API or runtime: real TAPs in namespaces of its own, real tables, the real
 * pipeline. What the tests of devices share; everything is gone after `close`.
 */
import { spawnSync } from 'node:child_process';
import { gatewayOf, macOf, NodeSync } from '../../src/agent/node-sync.ts';
import { closePodDevice, openPodDevice, type PodDevice } from '../../src/agent/ports.ts';
import { type NodeTables, openNodeTables, tableNames } from '../../src/agent/tables.ts';
import { WorkerPool } from '../../src/agent/worker-pool.ts';
import { monotonicMs } from '../../src/linux/clock.ts';
import { unlinkShared } from '../../src/linux/shm.ts';
import { closeTap, OffloadLevel, type Tap } from '../../src/linux/tap.ts';
import { nodeIdentity } from '../lib/node-identity.ts';

const PREFIX = `dlx${process.pid}`;
const NODE = nodeIdentity();

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

/** eth0 of a pod as the agent would make it. */
export function podDevice(netns: string, ip: string, offloads?: OffloadLevel): PodDevice {
  const network = {
    netnsPath: `/run/netns/${netns}`,
    ip,
    prefix: 24,
    gateway: gatewayOf(NODE.podCIDR),
    mtu: NODE.podMtu,
  };
  return { ...network, mac: macOf(ip), ...(offloads !== undefined && { offloads }) };
}

interface AttachedPod {
  readonly port: number;
  readonly tap: Tap;
  readonly netns: string;
}

export class DeviceWorld {
  readonly tables: NodeTables;
  readonly pool: WorkerPool;
  readonly crashes: string[] = [];
  readonly stalls: number[] = [];
  private readonly name = PREFIX;
  private readonly workers: number;
  private readonly offloads: OffloadLevel;
  private readonly sync: NodeSync;
  private readonly pods = new Map<string, AttachedPod>();

  constructor({ workers = 1, offloads = OffloadLevel.TUNNEL, entry }: DeviceWorldOptions = {}) {
    this.workers = workers;
    this.offloads = offloads;
    this.tables = openNodeTables({ nodeName: this.name, workers, maxConntrack: 4096, nowMs: monotonicMs() });
    this.sync = new NodeSync(this.tables.node, NODE);
    this.pool = new WorkerPool({
      workers,
      tables: tableNames(this.name),
      features: {
        tunnelOffload: offloads >= OffloadLevel.TUNNEL,
        udpSegmentation: offloads >= OffloadLevel.UDP,
      },
      conntrack: this.tables.conntrack,
      fragments: this.tables.fragments,
      onCrash: (_, error) => this.crashes.push(error.message),
      onStall: (worker) => this.stalls.push(worker),
      ...(entry !== undefined && { entry }),
    });
  }

  /** A pod with a namespace of its own, whose name comes back. */
  addPod(name: string, ip: string): string {
    const netns = addNetns(name);
    const tap = openPodDevice(podDevice(netns, ip, this.offloads), this.workers);
    const port = this.sync.freePort();
    if (port === undefined) throw new Error('no port is free');
    this.pods.set(name, { port, tap, netns });
    this.sync.setPod(port, { key: name, ip, declared: [] });
    this.pool.addPort(port, tap.fds, tap.headerBytes);
    return netns;
  }

  /** Take a pod's device away, its namespace after it. */
  async removePod(name: string): Promise<void> {
    const pod = this.pods.get(name);
    if (!pod) return;
    this.pods.delete(name);
    this.sync.removePod(name);
    await this.pool.removePort(pod.port);
    await closePodDevice(pod.tap);
    removeNetns(pod.netns);
  }

  async close(): Promise<void> {
    await this.pool.stop();
    for (const { tap, netns } of this.pods.values()) {
      closeTap(tap);
      removeNetns(netns);
    }
    this.tables.close(true);
    unlinkShared(tableNames(this.name).control);
  }
}
