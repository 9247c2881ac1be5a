/** What `collect` is made of. */

/** One file to be written, by its path in the directory. */
export interface Item {
  readonly path: string;
  /** @throws Error with the reason if it cannot be had */
  readonly read: () => Promise<string | Buffer> | string | Buffer;
}

/** Runs a program and resolves to what it printed. @throws Error with its last words */
export type Run = (program: string, args: readonly string[]) => Promise<string>;
