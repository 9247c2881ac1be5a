/** Why a runtime could not start a container, from its log, in the terms of our launcher. */

/**
 * @param log lines of JSON with `level` and `msg` (runc), or of a time and a message (crun)
 * @returns the last error; empty if there is none
 */
export function whyNotStarted(log: string): string {
  const messages = log.split('\n').flatMap((line) => messageOf(line) ?? []);
  return plainly(messages.at(-1) ?? '');
}

function messageOf(line: string): string | undefined {
  if (!line.startsWith('{')) return line.replace(/^[\dT:.+-]+Z?:? /, '') || undefined;
  try {
    const { msg, level } = JSON.parse(line) as { msg?: unknown; level?: unknown };
    return typeof msg === 'string' && level !== 'warning' && level !== 'info' && level !== 'debug' ? msg : undefined;
  } catch {
    return undefined;
  }
}

/** runc reports what Go's exec reports; crun has texts of its own. */
function plainly(message: string): string {
  const found = /executable file [`']([^`']*)[`'] not found(?: in \$PATH)?(?:: (.*))?/.exec(message);
  if (found !== null) {
    const [, program = '', why = ''] = found;
    if (!program.includes('/')) return `exec: "${program}": executable file not found in $PATH`;
    return `exec: "${program}": ${(why || 'no such file or directory').toLowerCase()}`;
  }
  const open = /open executable: (.*)/.exec(message);
  if (open !== null) return `exec: ${open[1]!.toLowerCase()}`;
  const exec = /exec: "[^"]*": .*/.exec(message);
  return exec === null ? message : exec[0].replace(/: unknown$/, '').replace(/: stat [^:]*:/, ':');
}
