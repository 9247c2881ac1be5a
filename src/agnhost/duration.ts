/** Durations as Go writes them (`time.ParseDuration`): `1s`, `1m30s`, `250ms`. */

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** In milliseconds; undefined if the text is not a duration. */
export function parseDuration(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  const [, sign, rest = ''] = /^([+-]?)(.*)$/.exec(text) ?? [];
  if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h)|\.\d+(ns|us|µs|ms|s|m|h))+$/.test(rest)) return undefined;
  const parts = [...rest.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)];
  const sum = parts.reduce((total, [, number, unit = '']) => total + Number(number) * UNITS[unit]!, 0);
  return sign === '-' ? -sum : sum;
}

/** As `time.Duration` prints it, to the millisecond. */
export function printDuration(ms: number): string {
  const seconds = ms / 1000;
  if (ms < 1000) return ms === 0 ? '0s' : `${ms}ms`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds}s`;
  const hours = Math.floor(minutes / 60);
  const rest = `${minutes % 60}m${Number((seconds % 60).toFixed(3))}s`;
  return hours === 0 ? rest : `${hours}h${rest}`;
}
