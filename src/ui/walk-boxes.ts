/** Where a walk passes in the topology. Pure. */
import { OUTSIDE, type WalkView } from './protocol.ts';
import { nodeId } from './topology.ts';

/** Identifiers of the boxes: both ends, and the nodes between them. */
export function boxesOf({ from, to, nodes }: WalkView): ReadonlySet<string> {
  const ends = [from, to]
    .filter((name) => name !== '')
    .map((name) => name.replace(/^(pod|node) /, '$1:').replace(/^outside.*/, OUTSIDE));
  return new Set([...ends, ...nodes.map(({ node }) => nodeId(node))]);
}
