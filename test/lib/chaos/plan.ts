/** The faults of a chaos run as plain data: a seed gives a list, and any list can be run again. */
import { pick, type Random, seededRandom } from '../seeded-random.ts';

export const FAULT_KINDS = [
  'agent-kill',
  'agent-stop',
  'controller-kill',
  'controller-stop',
  'supervisor-kill',
  'worker-throw',
  'worker-hang',
  'link-flap',
  'mtu',
  'loss',
  'duplicate',
  'reorder',
  'corrupt',
  'disk-full',
  'clock-jump',
  'connection-flood',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** The node it happens to; the controller, disk and clock belong to none. */
  readonly node: string;
  /** Milliseconds from the beginning of the run, and how long it lasts. */
  readonly atMs: number;
  readonly forMs: number;
  /** Frames in a thousand, seconds of a clock; of no meaning for other kinds. */
  readonly amount: number;
  readonly seed: number;
}

/** How long a fault of the kind lasts at most, and its amount. */
const RANGES: Readonly<
  Record<FaultKind, { readonly forMs: readonly [number, number]; readonly amount: readonly [number, number] }>
> = {
  'agent-kill': { forMs: [0, 0], amount: [0, 0] },
  'agent-stop': { forMs: [500, 3000], amount: [0, 0] },
  'controller-kill': { forMs: [0, 0], amount: [0, 0] },
  'controller-stop': { forMs: [500, 4000], amount: [0, 0] },
  'supervisor-kill': { forMs: [0, 0], amount: [0, 0] },
  'worker-throw': { forMs: [0, 0], amount: [0, 0] },
  'worker-hang': { forMs: [0, 0], amount: [0, 0] },
  'link-flap': { forMs: [100, 1500], amount: [0, 0] },
  mtu: { forMs: [500, 2000], amount: [1300, 1480] },
  loss: { forMs: [1000, 3000], amount: [5, 50] },
  duplicate: { forMs: [1000, 3000], amount: [5, 200] },
  reorder: { forMs: [1000, 3000], amount: [5, 200] },
  corrupt: { forMs: [1000, 3000], amount: [2, 20] },
  'disk-full': { forMs: [500, 2000], amount: [0, 0] },
  'clock-jump': { forMs: [500, 2000], amount: [-7200, 7200] },
  'connection-flood': { forMs: [1000, 2000], amount: [0, 0] },
};
/** Between the end of one fault and the beginning of the next. */
const PAUSE_MS: readonly [number, number] = [800, 2500];

/** Faults one after the other for so long. */
export function planFaults(seed: number, totalMs: number, nodes: readonly string[]): Fault[] {
  const random = seededRandom(seed);
  const faults: Fault[] = [];
  for (let atMs = 500; ; ) {
    const kind = pick(random, FAULT_KINDS);
    const { forMs, amount } = RANGES[kind];
    const fault: Fault = {
      kind,
      node: pick(random, nodes),
      atMs,
      forMs: between(random, forMs),
      amount: between(random, amount),
      seed: random.word(),
    };
    if (atMs + fault.forMs > totalMs) return faults;
    faults.push(fault);
    atMs += fault.forMs + between(random, PAUSE_MS);
  }
}

function between(random: Random, [low, high]: readonly [number, number]): number {
  return low + random.below(high - low + 1);
}

export function describeFault({ kind, node, atMs, forMs, amount }: Fault): string {
  const values = [forMs > 0 ? `for ${forMs} ms` : '', amount !== 0 ? `amount ${amount}` : ''].filter((it) => it !== '');
  return `${(atMs / 1000).toFixed(1)} s: ${kind} ${node}${values.length > 0 ? ` (${values.join(', ')})` : ''}`;
}
