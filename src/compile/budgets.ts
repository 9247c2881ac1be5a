/** A pod's budgets, from its annotations: whole numbers a second. */
import type { Pod } from '../api/types/objects.ts';
import { type LimitFormat, limitReader } from './limit-annotation.ts';

const ANNOTATIONS = {
  connections: 'dataplane.dev/new-connections-per-second',
  replies: 'dataplane.dev/replies-per-second',
} as const;
const MOST = 1_000_000;
const FORMAT: LimitFormat = {
  parse: (text) => {
    const value = /^\d{1,7}$/.test(text) ? Number(text) : 0;
    return value >= 1 && value <= MOST ? value : undefined;
  },
  expected: `a whole number from 1 to ${MOST}, such as 100`,
};

/** A second; 0: no limit of its own. */
export interface PodBudgets {
  /** Connections that the pod opens. */
  readonly connections: number;
  /** Resets and ICMP errors in reply to its packets; at most 1000 a second and worker in any case. */
  readonly replies: number;
  /** What is wrong with the annotations; those are ignored. */
  readonly problems: readonly string[];
}

/** @param pod undefined: not known yet, and without budgets until then */
export function podBudgets(pod: Pod | undefined): PodBudgets {
  const problems: string[] = [];
  const read = limitReader(pod, FORMAT, problems);
  return { connections: read(ANNOTATIONS.connections), replies: read(ANNOTATIONS.replies), problems };
}
