/** Whether a node is well enough, after its agent was replaced by one of another build, to keep that build. */

/** A node at one moment. */
export interface NodeHealth {
  readonly name: string;
  /** Of the running agent; null if there is none. */
  readonly agentPid: number | null;
  /** Is that agent forwarding, or has it forwarded? */
  readonly hasStarted: boolean;
  /** Why the node is not Ready; undefined if it is. */
  readonly notReady: string | undefined;
  /** Since its agent has started. */
  readonly framesIn: number;
  /** Packets that did not arrive, for whatever reason. */
  readonly failures: number;
  /** Replacements of workers. */
  readonly restarts: number;
}

/** Failures per received frame in some interval. */
export interface FailureRate {
  readonly frames: number;
  readonly failures: number;
}

/** Fewer failures than this are no reason: a restart of a pod causes some. */
const LEAST_FAILURES = 50;
/** The share may double, and grow by one in a hundred. */
const GROWTH = 2;
const SLACK = 0.01;

const rateBetween = (before: NodeHealth, after: NodeHealth): FailureRate => ({
  frames: after.framesIn - before.framesIn,
  failures: after.failures - before.failures,
});

/** Do so many more packets fail than before? */
export function isWorse(before: FailureRate, now: FailureRate): boolean {
  if (now.failures < LEAST_FAILURES) return false;
  const share = ({ frames, failures }: FailureRate): number => failures / Math.max(1, frames, failures);
  return share(now) > Math.max(share(before) * GROWTH, share(before) + SLACK);
}

/**
 * Why the node is to return to its former build; undefined if it is well.
 * @param first when the new agent had started
 * @param before its failures under the former build
 */
export function whyRollBack(first: NodeHealth, now: NodeHealth, before: FailureRate): string | undefined {
  if (now.agentPid !== first.agentPid) return `its agent (pid ${first.agentPid}) has ended`;
  if (now.restarts > first.restarts) return `${now.restarts - first.restarts} of its workers failed`;
  if (now.notReady !== undefined) return `it is not Ready: ${now.notReady}`;
  const rate = rateBetween(first, now);
  if (!isWorse(before, rate)) return undefined;
  const percent = (part: FailureRate): string => ((100 * part.failures) / Math.max(1, part.frames)).toFixed(1);
  return `${percent(rate)} % of its packets do not arrive; before, ${percent(before)} % did not`;
}
