/** Log lines as Go's package log writes them to standard error, and klog's. */

const two = (value: number): string => String(value).padStart(2, '0');

const timeOfDay = (now: Date): string => [now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(':');

/** `2026/11/28 14:50:10 MESSAGE` */
export function log(message: string): void {
  const now = new Date();
  const date = `${now.getFullYear()}/${two(now.getMonth() + 1)}/${two(now.getDate())}`;
  process.stderr.write(`${date} ${timeOfDay(now)} ${message}\n`);
}

/** Logs, and exits with status 1. */
export function fatal(message: string): never {
  log(message);
  process.exit(1);
}

/** `I1128 14:50:10.123000       1 FILE:LINE] MESSAGE` (klog) */
export function klogInfo(place: string, message: string): void {
  const now = new Date();
  const date = `${two(now.getMonth() + 1)}${two(now.getDate())}`;
  const micros = `${String(now.getMilliseconds()).padStart(3, '0')}000`;
  process.stderr.write(
    `I${date} ${timeOfDay(now)}.${micros} ${String(process.pid).padStart(7)} ${place}] ${message}\n`,
  );
}
