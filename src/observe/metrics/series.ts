/** Metrics whose values are kept elsewhere (shared tables, the store) and read at each scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';

/** One series: the values of its labels, and its value. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

export interface Series {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  /** All series; those of the previous scrape are forgotten. */
  readonly read: () => Iterable<Sample>;
}

/** A gauge or counter without labels. */
export const single = (value: number): Sample[] => [[{}, value]];

const labelNames = ({ labels = [] }: Series): string[] => [...labels];

export function addGauge(registry: Registry, series: Series): void {
  new Gauge({
    name: series.name,
    help: series.help,
    labelNames: labelNames(series),
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, value] of series.read()) this.set({ ...labels }, value);
    },
  });
}

export function addCounter(registry: Registry, series: Series): void {
  new Counter({
    name: series.name,
    help: series.help,
    labelNames: labelNames(series),
    registers: [registry],
    collect() {
      this.reset();
      for (const [labels, value] of series.read()) this.inc({ ...labels }, value);
    },
  });
}
