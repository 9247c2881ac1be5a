/**
 * Takes a node's Services over from kube-proxy without ending a connection.
 *
 *   1. Wait until the process of kube-proxy has ended. Its rules stay, and translate as before.
 *   2. dp0 and its rules are installed as always, except that the connections which the kernel translates are left to it.
 *   3. When services and routes are known and the workers are about to start: remove kube-proxy's rules, move connections
 *      from the kernel's table to ours (translated-flows.ts says which), and leave the others to the kernel until they end.
 *
 * From step 2 to the start of the workers, packets of new connections wait in dp0's queues.
 */
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { adoptConnection } from '../../../native-free-dataplane/conntrack/adopt.ts';
import { Status } from '../../../native-free-dataplane/conntrack/record.ts';
import { routeGeneration } from '../../../native-free-dataplane/node/config.ts';
import { HopKind, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import { hopForAddress } from '../../../native-free-dataplane/stages/route.ts';
import { mappedIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { monotonicMs } from '../../linux/clock.ts';
import { KernelConntrack, type KernelFlow, KernelStatus, type KernelTuple } from '../../linux/kernel-conntrack.ts';
import type { NodeConfig } from '../config.ts';
import type { Part } from '../parts.ts';
import type { NodeTables } from '../tables.ts';
import type { HostNetwork } from '../underlay/host-network.ts';
import { proxyProcess, removeProxyRules } from './proxy.ts';
import { keptElements, movesTo, serviceFlows } from './translated-flows.ts';

const WAIT_MS = 500;
/** How often the connections that were left to the kernel are looked for. */
const KEPT_PERIOD_MS = 5000;

export interface TakeoverOptions {
  readonly config: Pick<NodeConfig, 'nodeIP' | 'podCIDR' | 'serviceCIDR' | 'nodePortRange'>;
  readonly log: (line: string) => void;
}

export interface TakenOver {
  readonly tables: Pick<NodeTables, 'conntrack' | 'node'>;
  readonly host: Pick<HostNetwork, 'setKept'>;
  /** External and load-balancer addresses of services. */
  readonly serviceAddresses: ReadonlySet<string>;
}

/** Resolves when no kube-proxy runs in this network namespace. */
export async function whenProxyHasEnded(log: (line: string) => void): Promise<void> {
  for (let pid = proxyProcess(), waits = false; pid !== undefined; pid = proxyProcess()) {
    if (!waits) log(`waiting for kube-proxy (pid ${pid}) to end: stop it on this node; nothing has been changed`);
    waits = true;
    await sleep(WAIT_MS);
  }
}

export class Takeover implements Part {
  private readonly options: TakeoverOptions;
  private readonly kernel = new KernelConntrack();
  private host: TakenOver['host'] | undefined;
  /** Those left to the kernel, by what identifies them. */
  private kept = new Map<string, KernelFlow>();
  private timer: NodeJS.Timeout | undefined;

  /** @throws SystemError where the kernel lacks ctnetlink */
  constructor(options: TakeoverOptions) {
    this.options = options;
  }

  /** What dp0's rules leave to the kernel until `complete`. @throws SystemError */
  translated(): string[] {
    return keptElements(this.flows(new Set()));
  }

  /**
   * Remove kube-proxy's rules and move its connections. Before the workers start; once services and routes are in the tables.
   * @throws Error if the rules cannot be removed: nothing has been moved then
   */
  complete({ tables, host, serviceAddresses }: TakenOver): void {
    const { config, log } = this.options;
    const removed = removeProxyRules();
    const { node, conntrack } = tables;
    const isRemotePod = (address: number): boolean =>
      hopKind(node, hopForAddress(node, mappedIpv4(address))) === HopKind.NODE;
    const moves = movesTo({ podCIDR: config.podCIDR, isRemotePod });
    let moved = 0;
    const kept: KernelFlow[] = [];
    for (const flow of this.flows(serviceAddresses)) {
      if (!moves(flow) || !adoptConnection(conntrack, ours(flow), routeGeneration(node) - 1, monotonicMs()))
        kept.push(flow);
      else {
        moved++;
        // Else the kernel would go on translating what the node's own sockets send.
        this.kernel.remove(flow);
      }
    }
    this.kept = new Map(kept.map((flow) => [keyOf(flow), flow]));
    this.host = host;
    host.setKept(keptElements(kept));
    const what = removed.map(({ table, chains }) => `${chains} chains of ${table}`).join(', ');
    if (removed.length > 0) log(`removed the rules of kube-proxy: ${what}`);
    if (moved + kept.length > 0) log(`${moved} connections taken over from the kernel, ${kept.length} left to it`);
  }

  start(): void {
    if (this.kept.size > 0) this.timer = setInterval(() => this.forget(), KEPT_PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
    this.kernel.close();
  }

  /** Forget connections that have ended: the next one between the same ports is ours. */
  private forget(): void {
    const { kept } = this;
    try {
      const alive = new Set(this.kernel.flows().map(keyOf));
      for (const key of kept.keys()) if (!alive.has(key)) kept.delete(key);
      this.host?.setKept(keptElements([...kept.values()]));
    } catch (error) {
      this.options.log(`connections left to the kernel: ${(error as Error).message}`);
    }
    if (kept.size === 0) clearInterval(this.timer);
  }

  private flows(serviceAddresses: ReadonlySet<string>): KernelFlow[] {
    const { serviceCIDR, nodePortRange, nodeIP } = this.options.config;
    const localAddresses = [
      nodeIP,
      ...Object.values(networkInterfaces())
        .flatMap((all) => all ?? [])
        .map((one) => one.address),
    ];
    return serviceFlows(this.kernel.flows(), { serviceCIDR, nodePortRange, localAddresses, serviceAddresses });
  }
}

const keyOf = ({ protocol, original: { src, srcPort, dst, dstPort } }: KernelFlow): string =>
  `${protocol} ${src} ${srcPort} ${dst} ${dstPort}`;

function ours({ protocol, original, reply, status, timeoutSeconds, tcpState }: KernelFlow) {
  const tuple = ({ src, dst, srcPort, dstPort }: KernelTuple) => ({
    src: mappedIpv4(src),
    dst: mappedIpv4(dst),
    srcPort,
    dstPort,
  });
  return {
    protocol,
    original: tuple(original),
    reply: tuple(reply),
    // The kernel's numbers of states are those of tcp/states.ts.
    tcpState,
    status:
      ((status & KernelStatus.SEEN_REPLY) !== 0 ? Status.SEEN_REPLY : 0) |
      ((status & KernelStatus.ASSURED) !== 0 ? Status.ASSURED : 0) |
      ((status & KernelStatus.SNAT) !== 0 ? Status.SNAT : 0) |
      Status.DNAT,
    timeoutMs: Math.min(timeoutSeconds * 1000, 0x3fffffff),
  };
}
