/** The fewest faults that make a run fail. */
import type { Fault } from './plan.ts';

/**
 * Delta debugging over a list of faults (Zeller and Hildebrandt, 2002), with a limit of runs: each takes as long as the run.
 * @param fails does a run with these faults fail?
 */
export async function shrinkFaults(
  faults: readonly Fault[],
  fails: (faults: readonly Fault[]) => Promise<boolean>,
  maxRuns: number,
): Promise<readonly Fault[]> {
  let best = faults;
  let runs = 0;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length; ) {
      if (best.length === 1 || runs++ >= maxRuns) return best;
      const fewer = [...best.slice(0, at), ...best.slice(at + size)];
      if (fewer.length > 0 && (await fails(moveUp(fewer)))) best = moveUp(fewer);
      else at += size;
    }
  }
  return best;
}

/** The same faults with the same pauses, beginning at once. */
function moveUp(faults: readonly Fault[]): Fault[] {
  const gap = 1500;
  let atMs = 500;
  return faults.map((fault) => {
    const moved = { ...fault, atMs };
    atMs += fault.forMs + gap;
    return moved;
  });
}
