/** Prints packets that did not arrive: by node and reason, with what happened and what to do about it. */
import { VERDICTS } from '../../../native-free-dataplane/verdicts.ts';
import { outcomeOf } from '../../observe/failures.ts';
import { type Flow, ownReason } from '../../observe/hubble/flow.ts';
import { printCompact } from '../../observe/hubble/print.ts';
import type { NodeDrops } from '../sources/status.ts';
import { print } from './output.ts';
import { terminalOf, wrap } from './table.ts';

const WIDTH = 100;
const INDENT = '    ';

/** The last drops of each node. */
type LastDrops = ReadonlyMap<string, readonly Flow[]>;

export function printDrops(nodes: readonly NodeDrops[], last: LastDrops, json: boolean): void {
  if (json)
    print(
      JSON.stringify(
        nodes.map((node) => ({ ...asJson(node), last: last.get(node.node) ?? [] })),
        null,
        2,
      ),
    );
  else print(dropsText(nodes, last, Math.min(terminalOf()?.columns ?? WIDTH, WIDTH)));
}

/** One paragraph for each node, one for each reason, and the last packets, one a line. */
export function dropsText(nodes: readonly NodeDrops[], last: LastDrops, columns: number): string {
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
    const recent = last.get(node) ?? [];
    if (recent.length > 0) lines.push(recent.length === 1 ? '  The last one:' : `  The last ${recent.length}:`);
    for (const flow of recent) lines.push(`${INDENT}${printCompact(flow, { nodeName: false, numeric: false })}`);
  }
  return lines.join('\n');
}

/** The last packets of a pod, one a line, and what to do about each reason; empty if there are none. */
export function lastDropsText(flows: readonly Flow[], columns: number = WIDTH): string {
  if (flows.length === 0) return '';
  const reasons = [...new Set(flows.map(ownReason))];
  const advice = reasons.flatMap((reason) => {
    const { advice: text = '' } = VERDICTS.find((one) => one?.name === reason) ?? {};
    return wrap(`${reason}: ${text}`, columns - INDENT.length).map((line, i) => `${i === 0 ? '  ' : INDENT}${line}`);
  });
  const lines = flows.map((flow) => `  ${printCompact(flow, { nodeName: true, numeric: false })}`);
  return `${['Drops:', ...lines, ...advice].join('\n')}\n`;
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
