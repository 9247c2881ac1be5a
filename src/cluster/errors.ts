/**
 * What can go wrong with a cluster on this machine. `code` is stable: callers decide by it, and the command line chooses
 * the advice and the exit status by it. The message states what is wrong, with the values.
 */

export type ClusterErrorCode =
  /** An argument contradicts another, or cannot work on any machine. */
  | 'OPTIONS'
  /** The machine lacks a program, a device, a privilege or room. */
  | 'MACHINE'
  /** A file that was named cannot be read or is not understood. */
  | 'FILE'
  /** A manifest is wrong, or refers to something that will not exist. */
  | 'MANIFEST'
  | 'ALREADY_UP'
  | 'BEING_BROUGHT_UP'
  /** Something of an earlier cluster is still there. */
  | 'LEFTOVERS'
  | 'NETWORK'
  | 'CONTROLLER'
  /** Not Ready within the time limit. */
  | 'NOT_READY'
  | 'INTERRUPTED'
  | 'TEAR_DOWN';

export class ClusterError extends Error {
  override readonly name = 'ClusterError';
  readonly code: ClusterErrorCode;
  /** What to do about it, where that is more specific than what the code implies. */
  readonly advice: string | undefined;
  /** Further lines, such as what the containers wrote last. */
  readonly details: readonly string[];

  constructor(code: ClusterErrorCode, message: string, advice?: string, details: readonly string[] = []) {
    super(message);
    this.code = code;
    this.advice = advice;
    this.details = details;
  }
}

/** Several mistakes of the same files; each is one line. */
export class ManifestError extends ClusterError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('MANIFEST', problems.join('; '));
    this.problems = problems;
  }
}
