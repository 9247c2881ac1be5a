/** Memory for tests of single headers: at an odd offset, filled with ones, so that every byte written shows. */
import * as assert from 'uvu/assert';

/** Offset of the header under test. */
export const AT = 7;

export function memory(): DataView {
  return new DataView(new Uint8Array(96).fill(0xff).buffer);
}

/** The header's first bytes in hexadecimal. */
export function hex(view: DataView, bytes: number): string {
  return Array.from(new Uint8Array(view.buffer, AT, bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @throws AssertionError if a byte directly before or after the header was written */
export function untouchedAround(view: DataView, bytes: number): void {
  assert.is(view.getUint8(AT - 1), 0xff);
  assert.is(view.getUint8(AT + bytes), 0xff);
}
