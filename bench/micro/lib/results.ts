/** The results of a benchmark and their output, and the interface of the modules in this folder. */
import type Benchmark from 'benchmark';

/** Time of one operation, over the samples of one run. */
export interface Timing {
  readonly suite: string;
  readonly name: string;
  /** First decile of the samples, because other load on the machine can only increase them. */
  readonly nanoseconds: number;
  readonly median: number;
  readonly samples: number;
  /** Upper limit. */
  readonly atMost?: number;
}

/** A figure other than a time. */
export interface Fact {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly atMost?: number;
}

/** A module of this folder: a Suite of the package benchmark, or a function that measures in its own way, or both. */
export interface BenchModule {
  /**
   * Options of a benchmark in addition to the package's own: `operations`, the number per call of its function (default
   * 1), and `atMost`, the limit in nanoseconds for one.
   */
  readonly suite?: Benchmark.Suite;
  readonly measure?: () => Fact[] | Promise<Fact[]>;
}

/** The results of one run of one module. */
export interface Run {
  readonly module: string;
  readonly timings: readonly Timing[];
  readonly facts: readonly Fact[];
  readonly failed: boolean;
}

export function figure(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0);
}

export function timingLine({ nanoseconds, median: middle, name, atMost }: Timing): string {
  return `${figure(nanoseconds).padStart(10)} ns  median ${figure(middle).padEnd(8)} ${name}${verdict(nanoseconds, atMost)}`;
}

export function factLine({ value, unit, name, atMost }: Fact): string {
  return `${figure(value).padStart(10)} ${unit.padEnd(19)} ${name}${verdict(value, atMost)}`;
}

/** Does the figure exceed its limit? */
export function isTooMuch(value: number, atMost: number | undefined): boolean {
  return atMost !== undefined && value > atMost;
}

function verdict(value: number, atMost: number | undefined): string {
  if (atMost === undefined) return '';
  return value > atMost ? `   TOO MUCH: at most ${atMost}` : `   (at most ${atMost})`;
}
