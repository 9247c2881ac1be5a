/** The walk of a packet as the page draws it: a pure function of what `dataplane trace` computes. */
import { isFailure, VERDICTS, verdictNamed } from '../../native-free-dataplane/verdicts.ts';
import { changedFieldsOf, shortSource } from '../observe/trace/print.ts';
import type { NodeTrace, Step } from '../observe/trace/step.ts';
import type { Walk } from '../observe/trace/walk.ts';
import type { WalkNode, WalkStep, WalkView } from './protocol.ts';

export function walkView({ traces, from, to, answered, notes }: Walk): WalkView {
  return {
    from: from.name,
    to: to?.name ?? '',
    answered: answered?.name ?? '',
    nodes: traces.map(nodeView),
    notes,
  };
}

function nodeView({ node, direction, packet, frame = '', steps, verdict, wouldDiffer }: NodeTrace): WalkNode {
  const row = VERDICTS[verdictNamed(verdict)];
  return {
    node,
    reply: direction === 'reply',
    packet,
    frame,
    steps: steps.map((step) => stepView(step, packet)),
    verdict,
    sentence: row?.sentence ?? '',
    failed: row !== undefined && isFailure(row),
    wouldDiffer,
  };
}

function stepView(step: Step, packet: string): WalkStep {
  const { stage, source, table = '', row, frames, verdict = '' } = step;
  return {
    stage,
    source: shortSource(source),
    table,
    text: (row?.text ?? []).filter((text) => text !== packet),
    changes: changedFieldsOf(step).map(({ name, before = '', after = '' }) => ({ field: name, before, after })),
    before: frames?.before ?? '',
    after: frames?.after ?? '',
    verdict,
  };
}
