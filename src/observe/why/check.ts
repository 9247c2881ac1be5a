/** One thing that was checked between two ends. */
export interface Check {
  /** What was checked, in a word or two: the first column of the output. */
  readonly name: string;
  /** False: this stops the connection. */
  readonly ok: boolean;
  /** What was found, as a sentence without a full stop. */
  readonly text: string;
}

export const pass = (name: string, text: string): Check => ({ name, ok: true, text });
export const fail = (name: string, text: string): Check => ({ name, ok: false, text });
