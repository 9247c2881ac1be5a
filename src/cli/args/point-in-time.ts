/** Points in time on the command line: RFC 3339, or how long ago. */
import { usageError } from '../errors.ts';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `2026-11-28T13:00:00Z`, `2026-11-28`, or an age such as `90s` or `1h30m`. @returns milliseconds since the epoch */
export function pointInTime(nowMs: number) {
  return (text: string, option: string): number => {
    if (/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text)) {
      let ageMs = 0;
      for (const [, number, unit = 's'] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)) {
        ageMs += Number(number) * (UNITS[unit] as number);
      }
      return nowMs - ageMs;
    }
    const at = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN;
    if (!Number.isNaN(at)) return at;
    throw usageError(`${option} ${text}: expected an age such as 90s or 1h30m, or a time such as 2026-11-28T13:00:00Z`);
  };
}
