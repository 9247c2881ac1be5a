/** Reports that connections are refused because no source port is free: at once, then at most once a minute. */
import { type Counters, verdictTotal } from '../../../native-free-dataplane/shared/counters.ts';
import { UNANSWERED, Verdict } from '../../../native-free-dataplane/verdicts.ts';
import type { Part } from '../parts.ts';

/** A refusal, with and without an ICMP error to the client. */
const VERDICTS: readonly number[] = [Verdict.REJECTED_PROHIBITED, UNANSWERED[Verdict.REJECTED_PROHIBITED]!];

const PERIOD_MS = 1000;
const ROUNDS_BETWEEN_REPORTS = 60;

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
