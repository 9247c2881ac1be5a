/** The interface of a metric. */
import type { TestNetwork } from '../contenders/contender.ts';

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

/** Values by key; a figure that could not be measured is missing. */
export type Sample = Record<string, number>;

export interface Metric {
  name: string;
  needs: string[];
  figures: Figure[];
  /** Measures for about `seconds`; undefined if the network has no such path. @throws if a program fails */
  measure(network: TestNetwork, seconds: number): Promise<Sample | undefined>;
}
