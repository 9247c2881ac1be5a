/** The way out of the cluster (src/cluster/ways-out), for `dataplane status`. */
import type { ClusterFile } from '../../cluster/state.ts';
import { refusedPackets } from '../../cluster/ways-out/unroutable.ts';
import { wayOutMark } from '../../cluster/ways-out/way-out.ts';
import { isAlive } from '../../linux/processes.ts';

export interface EgressStatus {
  enabled: boolean;
  /** Its program runs. */
  running: boolean;
  /** Packets that dp-outside had no route for; null if that is not known. */
  refusedPackets: number | null;
}

export async function readEgress({ egress = false }: ClusterFile): Promise<EgressStatus> {
  return { enabled: egress, running: isAlive(wayOutMark()), refusedPackets: (await refusedPackets()) ?? null };
}

/** Empty unless there is something to know: the way out is open, or something was refused for lack of one. */
export function egressLines({ enabled, running, refusedPackets }: EgressStatus): string[] {
  const lines: string[] = [];
  if (enabled && running) lines.push('Egress: pods reach what this host reaches.');
  if (enabled && !running) lines.push('Egress: slirp4netns is not running (see controller.log).');
  if (refusedPackets !== null && refusedPackets > 0) {
    const advice = enabled ? '' : ': bring the cluster up with --egress to let pods reach what this host reaches';
    lines.push(`${refusedPackets} packets to addresses without a route from dp-outside were refused${advice}.`);
  }
  return lines;
}
