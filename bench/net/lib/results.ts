/** The results of a run: metrics, machine, contenders and every sample. */
import type { Machine } from './tools.ts';

export interface Row {
  key: string;
  title: string;
  unit: string;
  better: 'more' | 'less';
}

export interface Results {
  title: string;
  machine: Machine;
  settings: Record<string, unknown>;
  contenders: { name: string; title: string; about: string; notes: string[]; skipped?: string }[];
  rows: Row[];
  /** Every sample: row key → contender → one value per round. */
  samples: Record<string, Record<string, number[]>>;
  problems: string[];
}
