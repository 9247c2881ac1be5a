/**
 * An object as it was read from a file: JSON that is parsed when the object is first needed, so that a start costs no more
 * than what is used. Afterwards the text is released.
 */
import type { KubeObject } from '../types/objects.ts';

export class StoredText {
  private file: Buffer | undefined;
  private readonly start: number;
  /** Bytes of its JSON. */
  readonly size: number;
  private parsed: KubeObject | undefined;

  /** The JSON in `file` from `start` to `end`, which must be valid and stay unchanged. */
  constructor(file: Buffer, start: number, end: number) {
    this.file = file;
    this.start = start;
    this.size = end - start;
  }

  /** The same object at every call. */
  get object(): KubeObject {
    if (this.parsed === undefined) {
      this.parsed = JSON.parse(this.json) as KubeObject;
      this.file = undefined;
    }
    return this.parsed;
  }

  get json(): string {
    const { file, start, size } = this;
    return file === undefined ? JSON.stringify(this.parsed) : file.toString('utf8', start, start + size);
  }
}

/** An object, or the text of one. */
export type Held = KubeObject | StoredText;

export const objectOf = (held: Held): KubeObject => (held instanceof StoredText ? held.object : held);
export const jsonOfHeld = (held: Held): string => (held instanceof StoredText ? held.json : JSON.stringify(held));
