/** The client's side of HTTP: query strings, responses as text or lines, errors and warnings. */
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../errors.ts';
import type { Status } from '../types/objects.ts';

/** `?a=b&…` of the parameters that are defined; empty if none is. */
export function query(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((p): p is [string, string] => p[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

/** Is it an error of the operating system or of Node, so that there is no response? */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
}

/** The error of a response: from its Status object, or else from its HTTP status. */
export function refusal(response: IncomingMessage, text: string): ApiError {
  try {
    const status = JSON.parse(text) as Status;
    if (status.kind === 'Status') return new ApiError(status);
  } catch {
    // Not a Status object: use the HTTP status.
  }
  const code = response.statusCode ?? 500;
  const message = `HTTP ${code}: ${text.slice(0, 200)}`;
  return new ApiError({ apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', code, message });
}

/** The texts of `Warning: 299 - "…"` headers (RFC 7234 §5.5). */
export function warningsOf(response: IncomingMessage): string[] {
  const texts: string[] = [];
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    if (response.rawHeaders[i]!.toLowerCase() !== 'warning') continue;
    const quoted = /^299 \S+ "((?:[^"\\]|\\.)*)"/.exec(response.rawHeaders[i + 1]!);
    if (quoted) texts.push(quoted[1]!.replace(/\\(.)/g, '$1'));
  }
  return texts;
}

/** The whole response body. */
export async function readText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

/** Calls `onLine` for every line of a stream as soon as it arrives, until the stream ends. An error of `onLine` ends it. */
export function readLines(response: IncomingMessage, onLine: (line: string) => void): Promise<void> {
  response.setEncoding('utf8');
  let rest = '';
  return new Promise((resolve, reject) => {
    response.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      try {
        for (const line of lines) if (line !== '') onLine(line);
      } catch (error) {
        response.destroy(error as Error);
      }
    });
    response.on('end', resolve);
    response.on('error', reject);
    response.on('close', () => reject(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })));
  });
}
