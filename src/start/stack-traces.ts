/**
 * Stack traces that name the TypeScript sources. Node's own --enable-source-maps reads and parses the map of every module
 * when it is loaded; here a map is read when a stack trace with a position in the bundle is formatted for the first time.
 * Those without one are formatted often: Node's streams do so with every error of a socket.
 */
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { dirname, resolve } from 'node:path';

/** Makes the stack traces of this thread name the sources of a bundled file that has its map beside it. */
export function mapStackTraces(bundle: string): void {
  let map: SourceMap | undefined;
  let isRead = false;
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) =>
      frame.getFileName() === bundle
        ? nameSource(String(frame), frame.getLineNumber()!, frame.getColumnNumber()!)
        : frame,
    );
    return [headOf(error), ...lines.map((line) => `    at ${line}`)].join('\n');
  };

  /** A frame's text with its position in the bundle replaced by that in the source. */
  function nameSource(text: string, line: number, column: number): string {
    if (!isRead) {
      isRead = true;
      map = readMap(`${bundle}.map`);
    }
    const found = map?.findEntry(line - 1, column - 1);
    if (found === undefined || !('originalSource' in found)) return text;
    const source = resolve(dirname(bundle), found.originalSource);
    return text.replace(
      `${bundle}:${line}:${column}`,
      `${source}:${found.originalLine + 1}:${found.originalColumn + 1}`,
    );
  }
}

/** As V8 begins a stack trace; an error's own message may fail to be read. */
function headOf(error: Error): string {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return '<error>';
  }
}

function readMap(path: string): SourceMap | undefined {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}
