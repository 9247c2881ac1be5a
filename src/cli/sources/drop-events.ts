/** Watches the nodes' counters, and reports what has failed since the last look. */
import type { VerdictRow } from '../../../native-free-dataplane/verdicts.ts';
import { readFailures } from './failures.ts';

export interface DropEvent {
  readonly node: string;
  readonly row: VerdictRow;
  readonly count: number;
}

/** The failures of some nodes since the previous call. An agent that was restarted has new counters, from 0. */
export class DropWatch {
  private readonly nodes: readonly string[];
  private readonly before = new Map<string, ReadonlyMap<string, number>>();

  constructor(nodes: readonly string[]) {
    this.nodes = nodes;
    this.look();
  }

  look(): DropEvent[] {
    return this.nodes.flatMap((node) => {
      const failures = readFailures(node);
      const before = this.before.get(node);
      this.before.set(node, new Map(failures.map(({ row, count }) => [row.name, count])));
      return failures.flatMap(({ row, count }): DropEvent[] => {
        const known = before?.get(row.name) ?? 0;
        const more = count >= known ? count - known : count;
        return more > 0 ? [{ node, row, count: more }] : [];
      });
    });
  }
}
