/**
 * Errors of the command line: what failed, what to do about it, and the exit status. One line, or one per mistake if
 * there are several. DATAPLANE_DEBUG=1 adds the stack trace.
 */
import type { ClusterErrorCode } from '../cluster/errors.ts';

export const Exit = { DONE: 0, FAILED: 1, USAGE: 2 } as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** A failure that the user can do something about. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly status: Exit;

  /** @param advice what to do about it; printed after a colon */
  constructor(status: Exit, what: string, advice?: string) {
    super(withAdvice(what, advice));
    this.status = status;
  }
}

/** The command failed. */
export const failed = (what: string, advice?: string): CliError => new CliError(Exit.FAILED, what, advice);

/** The command line is wrong; nothing was changed. */
export const usageError = (what: string, advice?: string): CliError => new CliError(Exit.USAGE, what, advice);

/** A command that was run in a pod or a namespace exited with this status; there is nothing to print. */
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

const REMOVED = 'everything was removed again';

/** Advice for errors of src/cluster that have none of their own. */
const ADVICE: Readonly<Record<ClusterErrorCode, string | undefined>> = {
  OPTIONS: 'see `dataplane up --help`',
  MACHINE: undefined,
  FILE: undefined,
  MANIFEST: undefined,
  ALREADY_UP: '`dataplane down` removes it',
  BEING_BROUGHT_UP: 'wait for the other `dataplane up`',
  LEFTOVERS: '`dataplane down` removes it',
  NETWORK: REMOVED,
  CONTROLLER: REMOVED,
  NOT_READY: REMOVED,
  INTERRUPTED: REMOVED,
  TEAR_DOWN: 'run `dataplane down` again',
  UPGRADE: undefined,
  JOIN: undefined,
};

/** Limit on the mistakes that a command lists. */
const MAX_PROBLEMS = 10;

export interface ErrorReport {
  /** Undefined: there is nothing to print. */
  text: string | undefined;
  status: number;
}

/** The report of any error. Errors are recognised by name, so that `--help` loads no other module. */
export function describeError(error: unknown): ErrorReport {
  if (error instanceof SilentExit) return { text: undefined, status: error.status };
  if (error instanceof CliError) return { text: oneLine(error.message), status: error.status };
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (name === 'ClusterError') return { text: describeClusterError(error as ClusterErrorLike), status: Exit.FAILED };
  if (name === 'ApiUnreachableError') return { text: describeUnreachable(String(code), message), status: Exit.FAILED };
  if (name === 'TraceRequestError') return describeTraceRequest(error as TraceRequestErrorLike);
  if (name === 'ApiError') return { text: describeApiError(error as ApiErrorLike), status: Exit.FAILED };
  if (code === 'EPERM' || code === 'EACCES') {
    const advice = isRoot() ? 'this machine or container does not allow it' : 'run it with sudo';
    return { text: oneLine(`${message}: ${advice}`), status: Exit.FAILED };
  }
  return { text: oneLine(message || String(error)), status: Exit.FAILED };
}

interface TraceRequestErrorLike {
  message: string;
  advice: string | undefined;
  isUsage: boolean;
}

function describeTraceRequest({ message, advice, isUsage }: TraceRequestErrorLike): ErrorReport {
  return { text: oneLine(withAdvice(message, advice)), status: isUsage ? Exit.USAGE : Exit.FAILED };
}

interface ApiErrorLike {
  reason: string;
  message: string;
  status?: { details?: { causes?: readonly { field?: string; message?: string }[] } };
}

/** One line, or one per mistake if the object has several. */
function describeApiError({ reason, message, status }: ApiErrorLike): string {
  const causes = status?.details?.causes ?? [];
  const object = /^(.*? is invalid): \[/s.exec(message)?.[1];
  if (causes.length < 2 || object === undefined) return oneLine(`Error from server (${reason}): ${message}`);
  const lines = causes.map((cause) => [cause.field, cause.message].filter(Boolean).join(': '));
  return limited(lines.map((line) => oneLine(`Error from server (${reason}): ${object}: ${line}`)));
}

interface ClusterErrorLike {
  code: ClusterErrorCode;
  message: string;
  advice?: string;
  problems?: readonly string[];
  details?: readonly string[];
}

function describeClusterError({ code, message, advice, problems, details = [] }: ClusterErrorLike): string {
  if (problems === undefined) return [oneLine(withAdvice(message, advice ?? ADVICE[code])), ...details].join('\n');
  return limited(problems.map(oneLine));
}

function limited(lines: readonly string[]): string {
  const more = lines.length > MAX_PROBLEMS ? [`and ${lines.length - MAX_PROBLEMS} more mistakes`] : [];
  return [...lines.slice(0, MAX_PROBLEMS), ...more].join('\n');
}

function describeUnreachable(code: string, message: string): string {
  if (code === 'ENOENT') return `${NOT_UP}: ${BRING_UP}`;
  if (code === 'ECONNREFUSED') {
    const again =
      'try again in a second, or start it with `dataplane controller`; `dataplane down` removes the cluster';
    return `the controller is not running, nodes keep forwarding: ${again}`;
  }
  if (code === 'EACCES' || code === 'EPERM') return 'the cluster belongs to root: run it with sudo';
  return oneLine(message);
}

const withAdvice = (what: string, advice: string | undefined) => (advice === undefined ? what : `${what}: ${advice}`);

const oneLine = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .join(' ');

const isRoot = (): boolean => process.geteuid?.() === 0;

/** Commands that use namespaces or devices call this first. @throws CliError */
export function needRoot(command: string): void {
  if (!isRoot()) throw failed(`dataplane ${command} needs root`, `run \`sudo dataplane ${command}\``);
}
