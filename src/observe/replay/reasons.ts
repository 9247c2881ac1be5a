/** Why connections come out otherwise with other tables: what a stage read for their first packets, in both. */
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { FAILED, VERDICTS, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import type { Names } from '../trace/names.ts';
import { endpointFinder } from '../trace/node-copy.ts';
import { shortSource } from '../trace/print.ts';
import type { Step } from '../trace/step.ts';
import { type ConnectionDifference, type Other, replaysOf } from './compare.ts';
import type { Recording } from './recording.ts';
import type { NodeReplay, PipelineBuild, TracedOutcome } from './replay.ts';
import type { Snapshot } from './snapshot-file.ts';

export interface Reason {
  /** The stage that decided, and its source line. */
  readonly stage: string;
  readonly source: string;
  /** Sentences. */
  readonly text: readonly string[];
}

export interface Traced {
  readonly process: typeof processTraced;
  /** Names of addresses without and with what was changed. */
  readonly names: readonly [before: Names, after: Names];
}

/**
 * Replays both once more, and traces the first packet of each connection that differs.
 * @returns the reasons, by the number of that packet
 */
export function reasonsOf(
  snapshot: Snapshot,
  { packets }: Pick<Recording, 'packets'>,
  [own, other]: readonly [own: PipelineBuild, other: Other],
  connections: readonly ConnectionDifference[],
  { process, names: [namesBefore, namesAfter] }: Traced,
): Map<number, Reason> {
  const wanted = new Set(connections.map(({ number }) => number));
  const [before, after] = [replaysOf(snapshot, { build: own }), replaysOf(snapshot, other)];
  const reasons = new Map<number, Reason>();
  const first = snapshot.nodes[0]?.node ?? '';
  const tracing = (replays: ReadonlyMap<string, NodeReplay>, names: Names) => ({
    process,
    names,
    nodesWithEndpoint: endpointFinder([...replays].map(([name, { dp }]) => ({ name, dp }))),
  });
  const [inBefore, inAfter] = [tracing(before, namesBefore), tracing(after, namesAfter)];
  for (let number = 1; number <= packets.length && reasons.size < wanted.size; number++) {
    const packet = packets[number - 1]!;
    const node = packet.node ?? first;
    if (!wanted.has(number)) {
      before.get(node)?.process(packet);
      after.get(node)?.process(packet);
      continue;
    }
    const was = before.get(node)?.trace(packet, inBefore);
    const is = after.get(node)?.trace(packet, inAfter);
    if (was !== undefined && is !== undefined) reasons.set(number, reasonOf(was, is));
  }
  return reasons;
}

function reasonOf(was: TracedOutcome, is: TracedOutcome): Reason {
  if (was.verdict !== is.verdict) {
    const failing = [is, was].find(({ verdict }) => fails(verdict));
    if (failing !== undefined) return whyItFails(failing);
  }
  const at = firstDifference(was.steps, is.steps);
  const [old, now] = [was.steps[at], is.steps[at]];
  const { stage, source } = (now ?? old)!;
  const text = old?.stage === now?.stage ? [`${sentence(old)} → ${sentence(now)}`] : [sentence(now ?? old)];
  return { stage, source: shortSource(source), text };
}

const fails = (verdict: string): boolean => FAILED[verdictNamed(verdict)] === 1;

function whyItFails({ verdict, steps, wouldDiffer }: TracedOutcome): Reason {
  const { stage, source } = steps.find((step) => step.verdict === verdict) ?? steps.at(-1)!;
  // What is compared with is in force nowhere: no command can explain it.
  const sentences = wouldDiffer.map((one) => one.replace(/: see `[^`]*`$/, ''));
  const text = sentences.length > 0 ? sentences : [VERDICTS[verdictNamed(verdict)]?.sentence ?? verdict];
  return { stage, source: shortSource(source), text };
}

/** The index of the first step that read, changed or decided something else. */
function firstDifference(was: readonly Step[], is: readonly Step[]): number {
  const facts = (step: Step | undefined): string =>
    JSON.stringify([step?.stage, step?.row, step?.before, step?.after, step?.verdict]);
  let at = 0;
  while (at < Math.max(was.length, is.length) - 1 && facts(was[at]) === facts(is[at])) at++;
  return at;
}

/** What a step read, or else changed. */
function sentence(step: Step | undefined): string {
  if (step === undefined) return 'nothing';
  const { stage, row, after } = step;
  if (row !== undefined && row.text.length > 0) return row.text.join(', ');
  return Object.values(after ?? {}).join(', ') || stage;
}
