/** Packets that did not reach their destination, by verdict. */
import type { Counters } from '../../native-free-dataplane/shared/counters.ts';
import {
  isFailure,
  VERDICTS,
  Verdict,
  type VerdictClass,
  type VerdictRow,
} from '../../native-free-dataplane/verdicts.ts';

export interface Failure {
  readonly row: VerdictRow;
  readonly count: number;
}

/** What became of a packet that did not arrive. */
export type Outcome = 'dropped' | 'refused' | 'lost';

/** @param verdictClass that of a failure */
export function outcomeOf(verdictClass: VerdictClass): Outcome {
  return verdictClass === 'dropped' || verdictClass === 'lost' ? verdictClass : 'refused';
}

/** The direction in which a policy denied a packet; undefined for verdicts that are not of a policy. */
export function deniedDirection(verdict: number): 'egress' | 'ingress' | undefined {
  if (verdict === Verdict.POLICY_EGRESS) return 'egress';
  return verdict === Verdict.POLICY_INGRESS ? 'ingress' : undefined;
}

/**
 * The failures (dropped, lost or refused) that these blocks of counters have recorded, in the order of the verdicts'
 * numbers. Verdicts with a count of 0 are omitted.
 */
export function failuresOf(blocks: Counters['blocks']): Failure[] {
  return VERDICTS.flatMap((row, verdict): Failure[] => {
    if (row === undefined || !isFailure(row)) return [];
    const count = blocks.reduce((sum, block) => sum + block[verdict]!, 0);
    return count > 0 ? [{ row, count }] : [];
  });
}
