/**
 * The connections of a command in a container, whichever protocol carries them: WebSocket (web-socket-channels.ts) or
 * SPDY (spdy-channels.ts).
 */
import type { Readable, Writable } from 'node:stream';

/** Size of a terminal, in characters. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** The channels of one command. */
export interface CommandChannels {
  /** Ends with the client's input. Undefined: not requested. */
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Called with every size of the client's terminal, including those received before the listener was added. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Aborted when the client disconnects. */
  readonly gone: AbortSignal;
  /** Reports the outcome to the client, and closes the connection. */
  finish(outcome: Outcome): Promise<void>;
}

/** How a command ended; `failure` if it could not be started or observed. */
export type Outcome = { exitCode: number } | { failure: string };

/** The channels the client requests (query of exec and attach). */
export interface ChannelRequest {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** Status on the error channel since v4 (kubelet, pkg/kubelet/cri/streaming/remotecommand). */
export function outcomeStatus(outcome: Outcome): object {
  if ('failure' in outcome) {
    return {
      metadata: {},
      status: 'Failure',
      message: `Internal error occurred: ${outcome.failure}`,
      reason: 'InternalError',
      details: { causes: [{ message: outcome.failure }] },
      code: 500,
    };
  }
  const { exitCode } = outcome;
  if (exitCode === 0) return { metadata: {}, status: 'Success' };
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  };
}

/** Outcome for clients before v4: nothing, or a sentence. */
export function outcomeText(outcome: Outcome): string {
  if ('failure' in outcome) return outcome.failure;
  return outcome.exitCode === 0 ? '' : `command terminated with exit code ${outcome.exitCode}`;
}

/** `{"Width":80,"Height":24}`; undefined for any other text. */
export function parseTerminalSize(text: string): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    const fits = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) >= 0 && Number(value) < 65536;
    return fits(Width) && fits(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the latest size received before a listener is added. */
export class SizeQueue {
  private last: TerminalSize | undefined;
  private listener: ((size: TerminalSize) => void) | undefined;

  push(size: TerminalSize | undefined): void {
    if (size === undefined) return;
    this.last = size;
    this.listener?.(size);
  }

  listen(listener: (size: TerminalSize) => void): void {
    this.listener = listener;
    if (this.last !== undefined) listener(this.last);
  }
}
