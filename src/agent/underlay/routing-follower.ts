/**
 * Updates rules and tables when the node's devices, addresses, routes or rules change. The kernel announces each change
 * (src/linux/kernel-events.ts), and all of them are then read again.
 */
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { KernelEvents, ROUTING } from '../../linux/kernel-events.ts';
import { RoutingTable } from '../../linux/routing-table.ts';
import type { NodeConfig } from '../config.ts';
import type { NodeSync } from '../node-sync.ts';
import type { Part } from '../parts.ts';
import type { HostNetwork } from './host-network.ts';
import { type HostRouting, hostRoutingOf } from './host-routes.ts';

/** What changes of routing are applied to. */
export interface RoutingFollowerOptions {
  readonly host: Pick<HostNetwork, 'setRouting' | 'setNeighbours' | 'deviceIndex'>;
  readonly sync: Pick<NodeSync, 'setHostRoutes'>;
  readonly config: Pick<NodeConfig, 'nodeIP' | 'underlayDevice' | 'underlayPrefix'>;
  /** Called after every change, once the tables are updated. */
  readonly onChange: () => void;
  readonly log: (line: string) => void;
}

/**
 * The node's routing now.
 * @param dp0 index of dp0; 0 if there is none
 * @throws SystemError
 */
export function readHostRouting(
  table: RoutingTable,
  { nodeIP, underlayPrefix }: Pick<NodeConfig, 'nodeIP' | 'underlayPrefix'>,
  dp0: number,
): HostRouting {
  const node = { address: addressWords(nodeIP)[3] as number, prefix: underlayPrefix };
  return hostRoutingOf(table.routes(), table.addresses(), node, dp0, table.rules());
}

/** Follows the routing of the network namespace in which it was created. */
export class RoutingFollower implements Part {
  private readonly options: RoutingFollowerOptions;
  private readonly table = new RoutingTable();
  private events: KernelEvents | undefined;
  private leftOut = 0;

  constructor(options: RoutingFollowerOptions) {
    this.options = options;
  }

  /** @throws SystemError, IpCommandError */
  start(): void {
    // Subscribe first, so that changes during the first reading are not missed.
    this.events = new KernelEvents(ROUTING, () => this.changed());
    this.follow();
  }

  close(): void {
    this.events?.close();
    this.table.close();
  }

  private changed(): void {
    try {
      this.follow();
    } catch (error) {
      this.options.log(`the node's routes: ${(error as Error).message}`);
    }
    this.options.onChange();
  }

  private follow(): void {
    const { host, sync, config, log } = this.options;
    const routing = readHostRouting(this.table, config, host.deviceIndex());
    const leftOut = sync.setHostRoutes(routing.routes);
    if (leftOut > 0 && leftOut !== this.leftOut) {
      log(
        `${leftOut} of the node's routes do not fit into the table of host routes: connections that leave by them are masqueraded as by the enclosing route`,
      );
    }
    this.leftOut = leftOut;
    host.setNeighbours(this.table.neighbours(host.deviceIndex(config.underlayDevice)));
    host.setRouting(routing);
  }
}
