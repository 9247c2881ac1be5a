/**
 * What a command says when it cannot do what was asked: one line, what and what to do, and the exit status.
 * Stack traces are for developers: DATAPLANE_DEBUG=1.
 */

export const Exit = { DONE: 0, FAILED: 1, WRONG_WORDS: 2 } as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** A failure that a person can do something about. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly status: Exit;

  /** @param advice what to do about it, as the rest of the sentence */
  constructor(status: Exit, what: string, advice?: string) {
    super(advice === undefined ? what : `${what}: ${advice}`);
    this.status = status;
  }
}

/** It failed, and here is what to do. */
export const failed = (what: string, advice?: string): CliError => new CliError(Exit.FAILED, what, advice);

/** The words on the command line were wrong. */
export const wrongWords = (what: string, advice?: string): CliError => new CliError(Exit.WRONG_WORDS, what, advice);

/** A command that was run ended with this status; nothing is left to say. */
export class SilentExit extends Error {
  override readonly name = 'SilentExit';
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

export const NOT_UP = 'no cluster is up';
export const BRING_UP = 'bring one up with `dataplane up`';

interface Told {
  /** Undefined: nothing to print. */
  line: string | undefined;
  status: number;
}

/** Any error → what stderr and the exit status say. Recognised by name, so that `--help` loads no other module. */
export function tellError(error: unknown): Told {
  if (error instanceof SilentExit) return { line: undefined, status: error.status };
  if (error instanceof CliError) return { line: oneLine(error.message), status: error.status };
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (name === 'ApiUnreachableError') return { line: tellUnreachable(String(code), message), status: Exit.FAILED };
  if (name === 'ApiError') {
    const reason = (error as { reason?: string }).reason;
    return { line: oneLine(`Error from server (${reason}): ${message}`), status: Exit.FAILED };
  }
  if (code === 'EPERM' || code === 'EACCES') {
    const advice = isRoot() ? 'this machine or container does not allow it' : 'run it with sudo';
    return { line: oneLine(`${message}: ${advice}`), status: Exit.FAILED };
  }
  return { line: oneLine(message || String(error)), status: Exit.FAILED };
}

function tellUnreachable(code: string, message: string): string {
  if (code === 'ENOENT') return `${NOT_UP}: ${BRING_UP}`;
  if (code === 'ECONNREFUSED') {
    return `${NOT_UP}, only the rest of one whose controller died: \`dataplane down\` takes it away`;
  }
  if (code === 'EACCES' || code === 'EPERM') return 'the cluster belongs to root: run it with sudo';
  return oneLine(message);
}

const oneLine = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .join(' ');

export const isRoot = (): boolean => process.geteuid?.() === 0;

/** Every command that touches namespaces or devices begins with this. */
export function needRoot(command: string): void {
  if (!isRoot()) throw failed(`dataplane ${command} needs root`, `run \`sudo dataplane ${command}\``);
}
