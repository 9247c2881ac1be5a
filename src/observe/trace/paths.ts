/**
 * Groups traced packets by their path: the same nodes, the same source line in every stage, the same verdict. A capture
 * of a thousand packets has a handful of paths, and the odd one is the one to look at.
 */
import type { Line } from './print.ts';
import { shortSource } from './print.ts';
import type { NodeTrace } from './step.ts';

/** A node on a path. */
export interface PathNode {
  readonly node: string;
  readonly steps: readonly { readonly stage: string; readonly source: string }[];
  readonly verdict: string;
}

export interface Path {
  /** Packets that took it. */
  readonly packets: number;
  /** Number of the first of them, and the packet in one line. */
  readonly first: number;
  readonly packet: string;
  readonly nodes: readonly PathNode[];
}

/** Most paths that are kept; packets on further ones are only counted. */
const MAX_PATHS = 1000;

export class Paths {
  private readonly found = new Map<string, { -readonly [field in keyof Path]: Path[field] }>();
  /** Packets on paths beyond MAX_PATHS. */
  others = 0;

  /** @param number of the packet */
  add(traces: readonly NodeTrace[], number: number): void {
    const nodes = traces.map(
      ({ node, steps, verdict }): PathNode => ({
        node,
        steps: steps.map(({ stage, source }) => ({ stage, source })),
        verdict,
      }),
    );
    const key = JSON.stringify(nodes);
    const known = this.found.get(key);
    if (known !== undefined) known.packets++;
    else if (this.found.size >= MAX_PATHS) this.others++;
    else this.found.set(key, { packets: 1, first: number, packet: traces[0]?.packet ?? '', nodes });
  }

  /** The most frequent first. */
  get all(): Path[] {
    return [...this.found.values()].sort((a, b) => b.packets - a.packets || a.first - b.first);
  }
}

const count = (packets: number): string => `${packets} ${packets === 1 ? 'packet' : 'packets'}`;

export function pathLines(paths: Paths): Line[] {
  const lines: Line[] = [];
  for (const [i, { packets, first, packet, nodes }] of paths.all.entries()) {
    if (i > 0) lines.push({ indent: 0, text: '', kind: 'plain' });
    lines.push({ indent: 0, text: `path ${i + 1}: ${count(packets)}, first ${first}: ${packet}`, kind: 'plain' });
    for (const { node, steps, verdict } of nodes) {
      const stages = steps.map(({ stage, source }) => `${stage} (${shortSource(source)})`).join(' > ');
      lines.push({ indent: 2, text: `${node}: ${stages}: ${verdict}`, kind: 'plain' });
    }
  }
  if (paths.others > 0) {
    lines.push({ indent: 0, text: `${count(paths.others)} on more than ${MAX_PATHS} other paths`, kind: 'plain' });
  }
  return lines;
}
