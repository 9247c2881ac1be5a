/** Masks in /proc/pid/status (proc_pid_status(5)): capabilities, signals. */

/**
 * @param status the file's text
 * @param field such as CapPrm or SigCgt
 * @returns the mask, bit 0 for the first capability or signal; 0 without the field
 */
export const statusMask = (status: string, field: string): bigint =>
  BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)`, 'm').exec(status)?.[1] ?? '0'}`);
