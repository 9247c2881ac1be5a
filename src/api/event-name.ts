/**
 * Names of events as client-go's recorder makes them (tools/record/event.go): of the object and of the time in
 * nanoseconds, so that events of one second, the precision of their times, are listed in the order in which they happened.
 */

const LONGEST = 230;
const PER_MS = 1_000_000;

/** Distinguishes the events of one millisecond; recorders in other processes are likely to be at another number. */
let serial = Math.floor(Math.random() * PER_MS);

export function eventName(object: string, nowMs: number): string {
  serial = (serial + 1) % PER_MS;
  const nanoseconds = BigInt(Math.floor(nowMs)) * BigInt(PER_MS) + BigInt(serial);
  return `${object.slice(0, LONGEST)}.${nanoseconds.toString(16)}`;
}
