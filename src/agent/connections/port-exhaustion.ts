/**
 * Reports that connections are refused because no source port is free: at once, then at most once a minute; in the log,
 * and as an event of the node and of the objects concerned.
 */
import type { Conntrack } from '../../../native-free-dataplane/conntrack/record.ts';
import { type Counters, verdictTotal } from '../../../native-free-dataplane/shared/counters.ts';
import { UNANSWERED, Verdict } from '../../../native-free-dataplane/verdicts.ts';
import type { NodeObject, Pod, Service } from '../../api/types/objects.ts';
import type { RecordEvent } from '../events.ts';
import type { Part } from '../parts.ts';
import { lastRefused, objectsOf } from './refused.ts';

/** A refusal, with and without an ICMP error to the client. */
const VERDICTS: readonly number[] = [Verdict.REJECTED_PROHIBITED, UNANSWERED[Verdict.REJECTED_PROHIBITED]!];

const PERIOD_MS = 1000;
const ROUNDS_BETWEEN_REPORTS = 60;

/** Where the refusals are counted, and what their events are about. */
export interface RefusalSources {
  readonly tables: { readonly counters: Counters; readonly conntrack: Conntrack };
  readonly node: () => NodeObject;
  /** Of this node. */
  readonly pods: () => Iterable<Pod>;
  readonly services: () => Iterable<Service>;
  readonly recordEvent: RecordEvent;
  readonly log: (line: string) => void;
}

/** The watch of a node's refused connections. */
export function watchPortExhaustion({
  tables,
  node,
  pods,
  services,
  recordEvent,
  log,
}: RefusalSources): PortExhaustion {
  return new PortExhaustion(tables.counters, (message) => {
    log(message);
    const refused = lastRefused(tables.conntrack);
    const text = `${message}; the last to ${refused.target}:${refused.port}`;
    for (const object of [node(), ...objectsOf(refused, pods(), services())]) {
      recordEvent(object, 'Warning', 'SourcePortsExhausted', text);
    }
  });
}

/** Watches the counters of refused connections. */
export class PortExhaustion implements Part {
  private readonly counters: Counters;
  private readonly report: (message: string) => void;
  private reported: number;
  private roundsToWait = 0;
  private timer: NodeJS.Timeout | undefined;

  /** @param report called with what an operator is to read */
  constructor(counters: Counters, report: (message: string) => void) {
    this.counters = counters;
    this.report = report;
    this.reported = this.refused();
  }

  start(): void {
    this.timer = setInterval(() => this.check(), PERIOD_MS);
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** One round, each second. */
  check(): void {
    if (this.roundsToWait > 0) this.roundsToWait--;
    const refused = this.refused();
    if (refused === this.reported || this.roundsToWait > 0) return;
    const count = refused - this.reported;
    this.reported = refused;
    this.roundsToWait = ROUNDS_BETWEEN_REPORTS;
    this.report(
      `${count} new connection${count === 1 ? '' : 's'} refused: every source port toward the destination is in use (rejected-prohibited)`,
    );
  }

  private refused(): number {
    return VERDICTS.reduce((sum, verdict) => sum + verdictTotal(this.counters, verdict), 0);
  }
}
