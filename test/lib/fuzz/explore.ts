/** The fuzzing of one target: inputs at random and from the corpus; those that reach new code are added to it. */
import { type Random, seededRandom } from '../seeded-random.ts';
import { Choices, mutateInput } from './choices.ts';
import type { Coverage } from './coverage.ts';
import { minimise } from './minimise.ts';
import type { FuzzTarget } from './target.ts';

/** Collecting coverage costs milliseconds, so it is done once for so many inputs. */
const BATCH = 32;

export interface Failure {
  readonly input: Uint8Array;
  readonly message: string;
}

export interface Explored {
  inputs: number;
  units: number;
  /** Blocks of the code under test that ran; 0 without coverage. */
  blocks: number;
  corpus: Uint8Array[];
  failure?: Failure;
}

export interface ExploreOptions {
  readonly target: FuzzTarget;
  readonly seed: number;
  readonly corpus: readonly Uint8Array[];
  /** Undefined: as fast as possible, without looking for new code. */
  readonly coverage?: Coverage | undefined;
  /** Ends when this returns true, asked once for each batch. */
  readonly isOver: () => boolean;
  /** Called before each input runs. */
  readonly onInput?: () => void;
  /** Has the choices of the input that is running, and zeros behind them. */
  readonly scratch?: Uint8Array | undefined;
}

/** Fuzz until it is over or an input fails; the failing input is minimised. */
export async function explore(options: ExploreOptions): Promise<Explored> {
  const { target, coverage, isOver } = options;
  const random = seededRandom(options.seed);
  const explored: Explored = { inputs: 0, units: 0, blocks: 0, corpus: [] };
  const known = options.corpus.length > 0 ? options.corpus : [new Uint8Array(0)];

  /** Run an input; after its end it goes on with `source`. @returns the choices made, undefined if it failed */
  const run = async (input: Uint8Array, source?: Random): Promise<Uint8Array | undefined> => {
    options.onInput?.();
    options.scratch?.fill(0);
    const choices = new Choices(input, source, options.scratch);
    explored.inputs++;
    try {
      explored.units += await target.run(choices);
      return choices.drawnBytes;
    } catch (error) {
      explored.failure = await minimised(options, choices.drawnBytes, error as Error);
      return undefined;
    }
  };

  coverage?.takeNew();
  for (const input of known) {
    if ((await run(input)) === undefined) return explored;
    const fresh = coverage?.takeNew() ?? [];
    if (fresh.length > 0 || coverage === undefined) explored.corpus.push(input);
    coverage?.add(fresh);
    explored.blocks = coverage?.count ?? 0;
  }
  while (!isOver()) {
    const batch: Uint8Array[] = [];
    for (let n = coverage === undefined ? 1 : BATCH; n > 0; n--) {
      const pick = (): Uint8Array => explored.corpus[random.below(explored.corpus.length)] ?? new Uint8Array(0);
      // The rest of a fresh input is drawn at random, of a changed one too: it may draw more than it was given.
      const given = random.below(3) === 0 ? new Uint8Array(0) : mutateInput(pick(), pick(), random);
      const made = await run(given, seededRandom(random.word()));
      if (made === undefined) return explored;
      batch.push(made);
    }
    if (coverage !== undefined) await keepNew(batch, coverage, explored, run);
    explored.blocks = coverage?.count ?? 0;
  }
  return explored;
}

/** If the batch reached new code, find out which of its inputs did, and keep those. */
async function keepNew(
  batch: readonly Uint8Array[],
  coverage: Coverage,
  explored: Explored,
  run: (input: Uint8Array) => Promise<Uint8Array | undefined>,
): Promise<void> {
  const fresh = coverage.takeNew();
  if (fresh.length === 0) return;
  for (const input of batch) {
    if ((await run(input)) === undefined) return;
    const its = coverage.takeNew();
    if (its.length > 0) explored.corpus.push(input);
    coverage.add(its);
  }
  // Code that runs once in a process, such as a cache being filled, is not reached again.
  coverage.add(fresh);
}

async function minimised({ target, onInput }: ExploreOptions, input: Uint8Array, error: Error): Promise<Failure> {
  const kind = kindOf(error);
  let message = error.stack ?? String(error);
  const small = await minimise(input, async (candidate) => {
    onInput?.();
    try {
      await target.run(new Choices(candidate));
      return false;
    } catch (other) {
      if (kindOf(other as Error) !== kind) return false;
      message = (other as Error).stack ?? String(other);
      return true;
    }
  });
  return { input: small, message };
}

/** The same failure: the same message, numbers and bytes aside. */
function kindOf({ message }: Error): string {
  return message.replace(/\b[0-9a-f]{8,}\b/g, '…').replace(/\d+/g, '0');
}

/** The fewest inputs of a corpus that reach everything the whole of it reaches, shortest first. */
export async function smallestCorpus(
  target: FuzzTarget,
  corpus: readonly Uint8Array[],
  coverage: Coverage,
  onInput: () => void,
): Promise<Uint8Array[]> {
  const kept: Uint8Array[] = [];
  coverage.takeNew();
  for (const input of [...corpus].sort((a, b) => a.length - b.length)) {
    onInput();
    await target.run(new Choices(input));
    const fresh = coverage.takeNew();
    if (fresh.length > 0) kept.push(input);
    coverage.add(fresh);
  }
  return kept;
}
