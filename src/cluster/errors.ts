/**
 * Errors of a cluster on this machine. `code` is stable: callers branch on it, and the command line derives the advice
 * and the exit status from it. The message states what is wrong, with the values.
 */

export type ClusterErrorCode =
  /** Arguments are inconsistent, or invalid on any machine. */
  | 'OPTIONS'
  /** The machine lacks a program, a device, a privilege or memory. */
  | 'MACHINE'
  /** A file cannot be read or parsed. */
  | 'FILE'
  /** A manifest is invalid, or refers to something that will not exist. */
  | 'MANIFEST'
  | 'ALREADY_UP'
  | 'BEING_BROUGHT_UP'
  /** Parts of an earlier cluster still exist. */
  | 'LEFTOVERS'
  | 'NETWORK'
  | 'CONTROLLER'
  /** Not Ready within the time limit. */
  | 'NOT_READY'
  | 'INTERRUPTED'
  | 'TEAR_DOWN'
  /** An upgrade was refused, or was rolled back. */
  | 'UPGRADE'
  /** Joining another machine's cluster failed. */
  | 'JOIN';

export class ClusterError extends Error {
  override readonly name = 'ClusterError';
  readonly code: ClusterErrorCode;
  /** Advice, if there is a more specific one than that of the code. */
  readonly advice: string | undefined;
  /** Further lines, such as the last output of containers. */
  readonly details: readonly string[];

  constructor(code: ClusterErrorCode, message: string, advice?: string, details: readonly string[] = []) {
    super(message);
    this.code = code;
    this.advice = advice;
    this.details = details;
  }
}

/** Several mistakes in manifests, one line each. */
export class ManifestError extends ClusterError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super('MANIFEST', problems.join('; '));
    this.problems = problems;
  }
}
