/** What became of a packet that was followed through the tables of the nodes (../trace/walk.ts). */
import { FAILED, VERDICTS, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import type { Walk } from '../trace/walk.ts';
import { type Check, fail, pass } from './check.ts';

export function packetCheck({ traces, to, notes }: Walk): Check {
  const last = traces.findLast(({ direction }) => direction === 'original');
  const lost = notes.at(-1);
  // A node sent it, and it went no further.
  if (to === undefined && lost !== undefined && (last === undefined || FAILED[verdictNamed(last.verdict)] === 0)) {
    return fail('packet', last === undefined ? lost : `node ${last.node} sends it, but ${lost}`);
  }
  if (to !== undefined || last === undefined) {
    const nodes = [...new Set(traces.map(({ node }) => node))].join(', ');
    return pass('packet', `it passes the tables of ${nodes || 'no node'} and reaches ${to?.name ?? 'the kernel'}`);
  }
  const sentence = VERDICTS[verdictNamed(last.verdict)]?.sentence.replace(/\.$/, '') ?? '';
  const differs = last.wouldDiffer[0]?.replace(/\.$/, '');
  return fail('packet', `node ${last.node} ends it as ${last.verdict} (${sentence})${differs ? `: ${differs}` : ''}`);
}
