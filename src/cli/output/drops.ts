/** Prints packets that did not arrive: by node and reason, with what happened and what to do about it. */
import { outcomeOf } from '../../observe/failures.ts';
import type { NodeDrops } from '../sources/status.ts';
import { print } from './output.ts';
import { terminalOf, wrap } from './table.ts';

const WIDTH = 100;
const INDENT = '    ';

export function printDrops(nodes: readonly NodeDrops[], json: boolean): void {
  if (json) print(JSON.stringify(nodes.map(asJson), null, 2));
  else print(dropsText(nodes, Math.min(terminalOf()?.columns ?? WIDTH, WIDTH)));
}

/** One paragraph for each node, and one for each reason. */
export function dropsText(nodes: readonly NodeDrops[], columns: number): string {
  const lines: string[] = [];
  for (const { node, since, failures } of nodes) {
    const total = failures.reduce((sum, { count }) => sum + count, 0);
    const when = since === undefined ? '' : ` since ${since}`;
    lines.push(total === 0 ? `Node ${node}: no drops${when}` : `Node ${node}: ${total} packets did not arrive${when}`);
    for (const { row, count } of failures) {
      lines.push(`  ${row.name}: ${count} ${outcomeOf(row.class)}`);
      for (const text of [row.sentence, row.advice]) {
        lines.push(...wrap(text, columns - INDENT.length).map((line) => `${INDENT}${line}`));
      }
    }
  }
  return lines.join('\n');
}

const asJson = ({ node, since, failures }: NodeDrops) => ({
  node,
  since,
  drops: failures.map(({ row, count }) => ({
    reason: row.name,
    outcome: outcomeOf(row.class),
    packets: count,
    sentence: row.sentence,
    advice: row.advice,
    source: row.source,
  })),
});
