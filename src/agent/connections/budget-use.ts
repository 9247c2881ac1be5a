/**
 * Events on the pods of this node that have used up a budget (native-free-dataplane/node/budgets.ts): at once, then at most
 * once a minute for each pod and budget.
 */
import { Budget, overShareOf, refusedOf } from '../../../native-free-dataplane/node/budgets.ts';
import { HopWord, type NodeTable } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import { formatAddress } from '../../../native-free-dataplane/wire/address.ts';
import type { Pod } from '../../api/types/objects.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';
import { ipOfPod } from './refused.ts';

const PERIOD_MS = 1000;
const ROUNDS_BETWEEN_EVENTS = 60;

const BUDGETS = [
  {
    name: 'connections',
    count: (table: NodeTable, port: number) => refusedOf(table, port, Budget.CONNECTIONS),
    reason: 'ConnectionRateExceeded',
    text: 'new connections dropped: more a second than its budget (connection-rate)',
  },
  {
    name: 'share',
    count: overShareOf,
    reason: 'ConnectionShareExceeded',
    text: 'new connections dropped: it holds its share of the connection table, and uses all of it (conntrack-share)',
  },
  {
    name: 'replies',
    count: (table: NodeTable, port: number) => refusedOf(table, port, Budget.REPLIES),
    reason: 'RepliesSuppressed',
    text: 'resets and ICMP errors not sent to it: its packets cause more a second than its budget',
  },
] as const;

/** What was reported of one port and budget. */
interface Reported {
  count: number;
  roundsToWait: number;
}

export interface BudgetUseOptions {
  readonly table: NodeTable;
  /** Those of this node. */
  readonly pods: () => readonly Pod[];
  readonly recordEvent: RecordEvent;
}

export class BudgetUse implements Part {
  private readonly options: BudgetUseOptions;
  /** Only ports that have used up a budget. */
  private readonly reported = new Map<string, Reported>();
  private timer: NodeJS.Timeout | undefined;

  constructor(options: BudgetUseOptions) {
    this.options = options;
  }

  start(): void {
    this.timer = setInterval(() => this.check(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** One round, each second. */
  check(): void {
    const { table } = this.options;
    let pods: Map<string, Pod> | undefined;
    for (let port = 1; port < firstNodeHop(table); port++) {
      for (const { name, count: countOf, reason, text } of BUDGETS) {
        const count = countOf(table, port);
        const key = `${port} ${name}`;
        if (count === 0) {
          this.reported.delete(key);
          continue;
        }
        const before = this.reported.get(key) ?? { count: 0, roundsToWait: 0 };
        // The port has another pod, whose count began anew.
        if (count < before.count) before.count = 0;
        this.reported.set(key, before);
        if (before.roundsToWait > 0) before.roundsToWait--;
        if (count === before.count || before.roundsToWait > 0 || hopKind(table, port) !== HopKind.POD) continue;
        pods ??= new Map(this.options.pods().map((pod) => [ipOfPod(pod) ?? '', pod]));
        const pod = pods.get(formatAddress(table.hops, hopAt(port) + HopWord.ADDRESS));
        if (pod === undefined) continue;
        this.options.recordEvent(pod, 'Warning', reason, `${count - before.count} ${text}`);
        before.count = count;
        before.roundsToWait = ROUNDS_BETWEEN_EVENTS;
      }
    }
  }
}
