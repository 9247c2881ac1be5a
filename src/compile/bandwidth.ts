/**
 * The limits of a pod's traffic, from its annotations kubernetes.io/ingress-bandwidth and egress-bandwidth: bits a second, as
 * the bandwidth plugin of CNI and kubelet read them (kubernetes pkg/util/bandwidth/utils.go).
 */
import { Quantity } from '../api/quantity.ts';
import type { Pod } from '../api/types/objects.ts';
import { type LimitFormat, limitReader } from './limit-annotation.ts';

const ANNOTATIONS = { ingress: 'kubernetes.io/ingress-bandwidth', egress: 'kubernetes.io/egress-bandwidth' } as const;

/** What kubernetes accepts: 1k to 1P. */
const LEAST = 1e3;
const MOST = 1e15;
const FORMAT: LimitFormat = {
  parse: (text) => {
    const bits = Number(Quantity.parse(text)?.nanos ?? 0n) / 1e9;
    return bits >= LEAST && bits <= MOST ? bits : undefined;
  },
  expected: 'bits a second from 1k to 1P, such as 10M',
};

/** Bits a second; 0: no limit. */
export interface PodBandwidth {
  readonly ingress: number;
  readonly egress: number;
  /** What is wrong with the annotations; those are ignored. */
  readonly problems: readonly string[];
}

/** @param pod undefined: not known yet, and without limits until then */
export function podBandwidth(pod: Pod | undefined): PodBandwidth {
  const problems: string[] = [];
  const read = limitReader(pod, FORMAT, problems);
  return { ingress: read(ANNOTATIONS.ingress), egress: read(ANNOTATIONS.egress), problems };
}
