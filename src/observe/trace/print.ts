/** Prints a trace as text, step by step, or as a sequence diagram. */
import { isFailure, VERDICTS, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import type { NodeTrace, Step } from './step.ts';
import type { Walk } from './walk.ts';

/** A line of text; its kind decides the colour on a terminal. */
export interface Line {
  readonly indent: number;
  readonly text: string;
  readonly kind: 'plain' | 'good' | 'bad';
}

const STAGE_WIDTH = 14;
/** Continuation lines are indented to the column of the source. */
const INDENT: number = STAGE_WIDTH + 2;

/** Fields of a tunnel's headers that are not shown. */
const DULL = /^(outer )?(source MAC|destination MAC)$|^outer (TTL|IP length|IP checksum|UDP checksum)$/;

/** A field that a step changed; undefined on the side where it does not exist. */
export interface ChangedField {
  readonly name: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** The fields that a step changed, as far as they are shown. */
export function changedFieldsOf({ before = {}, after = {} }: Pick<Step, 'before' | 'after'>): ChangedField[] {
  const rewrapped = before.headers !== undefined || after.headers !== undefined;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names
    .filter((name) => !(rewrapped && DULL.test(name)))
    .map((name) => ({ name, before: before[name], after: after[name] }));
}

/** What a step changed: `dst 10.96.0.10:80 → 10.244.1.2:8080`. */
function changesOf(step: Step): string[] {
  return changedFieldsOf(step).map(({ name, before, after }) => {
    if (before === undefined) return `${name} ${after}`;
    return after === undefined ? `${name} ${before} removed` : `${name} ${before} → ${after}`;
  });
}

/** Without the folder that all sources have in common. */
export const shortSource = (source: string): string => source.replace(/^native-free-dataplane\//, '');

/** @param packet the packet in the node's heading, which is not repeated */
function stepLines(step: Step, packet: string): Line[] {
  const plain = (text: string, indent = INDENT): Line => ({ indent, text, kind: 'plain' });
  const { stage, source, table, row } = step;
  const head = `${`${stage} `.padEnd(STAGE_WIDTH)}${shortSource(source)}${table === undefined ? '' : `  [${table}]`}`;
  return [
    plain(head, 2),
    ...(row?.text ?? []).filter((text) => text !== packet).map((text) => plain(text)),
    ...changesOf(step).map((text) => plain(text)),
  ];
}

function verdictLines({ verdict, wouldDiffer }: NodeTrace): Line[] {
  const row = VERDICTS[verdictNamed(verdict)];
  const bad = row !== undefined && isFailure(row);
  const sentence = row === undefined ? verdict : `${verdict}: ${row.sentence}`;
  const lines: Line[] = [{ indent: 2, text: sentence, kind: bad ? 'bad' : 'good' }];
  for (const text of wouldDiffer) lines.push({ indent: 2, text: `for another outcome: ${text}`, kind: 'plain' });
  return lines;
}

/** The lines of one node. */
export function nodeLines(trace: NodeTrace): Line[] {
  const arrow = trace.direction === 'reply' ? '←' : '→';
  return [
    { indent: 0, text: `${arrow} ${trace.node}: ${trace.packet}`, kind: 'plain' },
    ...trace.steps.flatMap((step) => stepLines(step, trace.packet)),
    ...verdictLines(trace),
  ];
}

const blank: Line = { indent: 0, text: '', kind: 'plain' };

/** Every line of the trace, not wrapped. */
export function traceLines({ traces, from, to, answered, notes }: Walk): Line[] {
  const lines: Line[] = traces.flatMap((trace, i) => (i > 0 ? [blank, ...nodeLines(trace)] : nodeLines(trace)));
  lines.push(blank, ...notes.map((text): Line => ({ indent: 0, text: `note: ${text}`, kind: 'plain' })));
  const arrived = to !== undefined;
  const kind = arrived ? 'good' : 'bad';
  lines.push({
    indent: 0,
    text: arrived ? `${from.name} reaches ${to.name}` : `${from.name}: the packet is not delivered`,
    kind,
  });
  if (answered !== undefined) {
    const who = arrived ? `the reply of ${to.name}` : 'the rejection';
    lines.push({ indent: 0, text: `${who} arrives at ${answered.name}`, kind: 'plain' });
  } else if (arrived) lines.push({ indent: 0, text: 'no reply arrives', kind: 'plain' });
  return lines;
}

/** The steps that a diagram shows, besides the verdict: decisions from tables. */
const SHOWN = new Set(['service', 'flow', 'connect', 'route', 'policy', 'network policy', 'translate', 'answer']);

/** A Mermaid sequence diagram of the trace. */
export function traceDiagram({ traces, from, to, answered }: Walk): string {
  const ids = new Map<string, string>();
  const lines: string[] = [];
  const id = (name: string): string => {
    let known = ids.get(name);
    if (known === undefined) {
      known = `p${ids.size}`;
      ids.set(name, known);
      lines.push(`    participant ${known} as ${name}`);
    }
    return known;
  };
  id(from.name);
  for (const { node } of traces) id(node);
  if (to !== undefined) id(to.name);
  let at = from.name;
  let way: NodeTrace['direction'] = 'original';
  for (const { node, direction, packet, steps, verdict } of traces) {
    if (direction !== way && to !== undefined) {
      lines.push(`    ${id(at)}->>${id(to.name)}: arrives`);
      at = to.name;
    }
    way = direction;
    lines.push(`    ${id(at)}->>${id(node)}: ${escaped(packet)}`);
    const shown = steps
      .filter(({ stage }) => SHOWN.has(stage))
      .flatMap((step) =>
        [...(step.row?.text ?? []).slice(0, 2), ...changesOf(step)].map((text) => `${step.stage}: ${text}`),
      );
    lines.push(`    Note over ${id(node)}: ${[...shown, verdict].map(escaped).join('<br/>')}`);
    at = node;
  }
  const last = answered ?? to;
  if (last !== undefined) lines.push(`    ${id(at)}->>${id(last.name)}: arrives`);
  return `sequenceDiagram\n${lines.join('\n')}\n`;
}

/** Escapes characters that end a statement or a line of a diagram. */
function escaped(text: string): string {
  const codes: Readonly<Record<string, string>> = { '#': '#35;', ';': '#59;', '<': '#lt;', '>': '#gt;' };
  return text.replace(/[#;<>]/g, (character) => codes[character]!);
}
