/** Numbers for people. */

/** `0`, `0.4`, `12`, `3.4k` */
export function short(value: number): string {
  if (value === 0) return '0';
  if (value < 10) return value.toFixed(1).replace(/\.0$/, '');
  if (value < 1000) return String(Math.round(value));
  if (value < 1e6) return `${(value / 1000).toFixed(1).replace(/\.0$/, '')}k`;
  return `${(value / 1e6).toFixed(1).replace(/\.0$/, '')}M`;
}

export const perSecond = (value: number): string => `${short(value)}/s`;

/** Bytes a second as bits: `1.2 Mbit/s`. */
export function bytesRate(bytes: number): string {
  const bits = bytes * 8;
  if (bits >= 1e9) return `${(bits / 1e9).toFixed(1)} Gbit/s`;
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(1)} Mbit/s`;
  if (bits >= 1e3) return `${(bits / 1e3).toFixed(0)} kbit/s`;
  return `${Math.round(bits)} bit/s`;
}
