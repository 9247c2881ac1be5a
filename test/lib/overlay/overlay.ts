/** Traffic of the overlay's tests: ping, verified bulk TCP, iperf3, datagrams of any size. */
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Cluster, eventually, output, type Ran, ROOT } from '../cluster.ts';
import { ECHO } from '../services/services.ts';

const built = (name: string): string[] => [process.execPath, join(ROOT, `dist/test/lib/overlay/${name}.js`)];

/** Ports of the servers that `startServers` starts. */
export const ServerPort = { STREAM: 7000, ECHO: 7001, IPERF: 5201 } as const;

export class Paths {
  readonly cluster: Cluster;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /** Started in a namespace: the checked stream, the echo server (TCP and UDP) and iperf3. */
  async startServers(netns: string): Promise<void> {
    const { cluster } = this;
    const servers: ChildProcess[] = [
      cluster.start(netns, [...built('checked-stream'), 'serve', `${ServerPort.STREAM}`]),
      cluster.start(netns, [...ECHO, `tcp:${ServerPort.ECHO}`, `udp:${ServerPort.ECHO}`, `name=${netns}`]),
      cluster.start(netns, ['iperf3', '-s', '-p', `${ServerPort.IPERF}`]),
    ];
    for (const { stdout, stderr } of servers) {
      stdout?.resume();
      stderr?.resume();
    }
    await eventually(async () => {
      const { stdout } = await cluster.exec(netns, ['ss', '-Hltn']);
      return Object.values(ServerPort).every((port) => stdout.includes(`:${port} `)) ? true : undefined;
    });
  }

  /** Is every echo answered? @param args arguments of ping */
  async ping(netns: string, ip: string, ...args: string[]): Promise<void> {
    const { status, stdout } = await this.cluster.exec(netns, ['ping', '-q', '-c3', '-i0.05', '-W2', ...args, ip]);
    assert.is(status, 0, `ping ${ip} from ${netns}: ${stdout}`);
    assert.match(stdout, ' 0% packet loss');
  }

  /** The same without an expectation. */
  tryPing(netns: string, ip: string, ...args: string[]): Promise<Ran> {
    return this.cluster.exec(netns, ['ping', '-c1', '-W1', ...args, ip]);
  }

  /** A stream arrives unchanged. @returns Mbit/s */
  async stream(netns: string, way: 'up' | 'down', ip: string, bytes = 24 << 20, port: number = ServerPort.STREAM) {
    const args = [...built('checked-stream'), way, ip, `${port}`, `${bytes}`];
    const { stdout, stderr } = await this.cluster.exec(netns, args, { timeoutMs: 20_000 });
    const [, took] = /^ok \d+ (\d+)$/m.exec(stdout) ?? [];
    assert.ok(took !== undefined, `${way} ${ip} from ${netns}: ${stdout}${stderr}`);
    return (bytes * 8) / 1000 / Number(took);
  }

  /** Throughput measured by iperf3. @returns Mbit/s received */
  async iperf(netns: string, ip: string, ...args: string[]): Promise<number> {
    const report = JSON.parse(
      await output(this.cluster.exec(netns, ['iperf3', '-c', ip, '-J', '-t', '1', ...args], { timeoutMs: 15_000 })),
    ) as { end: { sum_received: { bits_per_second: number } }; error?: string };
    assert.is(report.error, undefined);
    return report.end.sum_received.bits_per_second / 1e6;
  }

  /** Datagrams of these sizes come back from the echo server unchanged. */
  async datagrams(netns: string, ip: string, sizes: readonly number[], port: number = ServerPort.ECHO): Promise<void> {
    const args = [...built('datagram-check'), ip, `${port}`, ...sizes.map(String)];
    const { status, stdout, stderr } = await this.cluster.exec(netns, args);
    assert.is(status, 0, `${ip} from ${netns}: ${stdout}${stderr}`);
  }
}

/** Total of each verdict over a node's workers. */
export async function drops(cluster: Cluster, node: string): Promise<Record<string, number>> {
  const found = (await cluster.status()).nodes.find(({ name }) => name === node);
  const total: Record<string, number> = {};
  for (const { drops: ofWorker } of found?.workers ?? [])
    for (const [reason, count] of Object.entries(ofWorker)) total[reason] = (total[reason] ?? 0) + count;
  return total;
}

/** Which of them changed meanwhile, and by how much. */
export async function dropsMoved(cluster: Cluster, node: string, work: () => Promise<unknown>) {
  const before = await drops(cluster, node);
  await work();
  const after = await drops(cluster, node);
  return Object.fromEntries(
    Object.entries(after)
      .map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
      .filter(([, moved]) => moved > 0),
  );
}
