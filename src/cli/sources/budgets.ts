/** What pods were refused because they had used up a budget. */
import { Budget, overShareOf, refusedOf, withoutSourcePortOf } from '../../../native-free-dataplane/node/budgets.ts';
import { attachNodeTable, HopWord, type NodeTable } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { Pod } from '../../api/types/objects.ts';
import { openShared } from '../../linux/shm.ts';
import { memoryName } from '../../shm-names.ts';

export interface RefusedToPod {
  /** NAMESPACE/NAME, or its address if the API does not respond. */
  readonly pod: string;
  /** Over its budget of a second. */
  readonly newConnections: number;
  /** Connections over its share of the connection table. */
  readonly overShare: number;
  /** Connections for which no source port was free. */
  readonly withoutSourcePort: number;
  readonly replies: number;
}

/** @param pods those of the node; their number of refusals is since they got their device, or the agent started */
export function readRefused(node: string, pods: readonly Pod[]): RefusedToPod[] {
  let memory: ReturnType<typeof openShared>;
  try {
    memory = openShared(memoryName(node, 'routes'));
  } catch {
    return []; // The agent has not started yet.
  }
  try {
    const table = attachNodeTable(memory.buffer);
    return table === undefined ? [] : refusedIn(table, pods);
  } finally {
    memory.close();
  }
}

function refusedIn(table: NodeTable, pods: readonly Pod[]): RefusedToPod[] {
  const found: RefusedToPod[] = [];
  for (let port = 1; port < firstNodeHop(table); port++) {
    const newConnections = refusedOf(table, port, Budget.CONNECTIONS);
    const replies = refusedOf(table, port, Budget.REPLIES);
    const overShare = overShareOf(table, port);
    const withoutSourcePort = withoutSourcePortOf(table, port);
    if (newConnections + replies + overShare + withoutSourcePort === 0 || hopKind(table, port) !== HopKind.POD)
      continue;
    const address = formatAddress(table.hops, hopAt(port) + HopWord.ADDRESS);
    const metadata = pods.find(({ status }) => status?.podIP === address)?.metadata;
    const pod = metadata === undefined ? address : `${metadata.namespace ?? 'default'}/${metadata.name}`;
    found.push({ pod, newConnections, replies, overShare, withoutSourcePort });
  }
  return found;
}
