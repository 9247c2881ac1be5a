/** What a metric is. */
import type { World } from '../contenders/contender.ts';

/** The path between client and server that a metric measures. */
export type PathName = 'sameNode' | 'acrossNodes' | 'nodePortNear' | 'nodePortFar';

/** One figure: the key is `metric/figure`. */
export interface Figure {
  key: string;
  title: string;
  unit: string;
  /** Which way is better, for the chart and the ratios. */
  better: 'more' | 'less';
}

/** Values by key; a figure that could not be had is left out. */
export type Sample = Record<string, number>;

export interface Metric {
  name: string;
  needs: string[];
  figures: Figure[];
  /** Measures for about `seconds`; undefined when the world has no such path. @throws when a program fails */
  measure(world: World, seconds: number): Promise<Sample | undefined>;
}
