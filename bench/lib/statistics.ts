/** Statistics of a handful of samples on a machine that is never quite idle: medians, and the spread of the samples. */

/** Middle value; NaN for none. */
export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** Value below which the share `q` (0..1) of the samples lies, interpolated; NaN for none. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

/** (largest − smallest) / median: 0.1 means that the samples lie within 10 % of each other. NaN for fewer than two. */
export function spread(samples: readonly number[]): number {
  if (samples.length < 2) return Number.NaN;
  return (Math.max(...samples) - Math.min(...samples)) / median(samples);
}

/** Three significant digits, with thousands written out: 0.00123, 1.23, 12.3, 123, 12300. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Math.abs(value) >= 100 ? String(Math.round(value)) : value.toFixed(Math.min(digits, 6));
}
