/** The command `dataplane`. A command's module is loaded when it is used, so that `--help` is fast. */
import { fileURLToPath } from 'node:url';
import { COMMANDS, GROUPS } from './command-table.ts';
import { describeError, Exit, usageError } from './errors.ts';

function printOverview(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const groups = Object.entries(GROUPS).map(([title, entries]) => {
    const lines = Object.entries(entries).map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`);
    return `${title}:\n${lines.join('\n')}\n`;
  });
  return `Usage: dataplane COMMAND [ARG…]

The network of a Kubernetes cluster, forwarded in user space by TypeScript.

${groups.join('\n')}
\`dataplane COMMAND --help\` shows a command's options. DATAPLANE_DEBUG=1 adds the stack trace to an error.
`;
}

async function main(argv: readonly string[]): Promise<void> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    process.stderr.write(printOverview());
    process.exitCode = Exit.USAGE;
    return;
  }
  if (name === 'help' && rest[0] !== undefined) return main([rest[0], '--help']);
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(printOverview());
    return;
  }
  if (name === '--version' || name === 'version') {
    const { readVersion } = await import('./version.ts');
    process.stdout.write(`dataplane ${readVersion()}\n`);
    return;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const { nearestWord } = await import('../api/nearest-word.ts');
    const near = nearestWord(name, Object.keys(COMMANDS));
    const advice = near === undefined ? 'see `dataplane --help`' : `did you mean \`dataplane ${near}\`?`;
    throw usageError(`there is no command "${name}"`, advice);
  }
  const [{ parseCommandLine, printHelp }, { command }] = await Promise.all([import('./args/args.ts'), entry.load()]);
  const end = rest.indexOf('--');
  const own = end < 0 ? rest : rest.slice(0, end);
  if (own.includes('--help') || own.includes('-h')) {
    process.stdout.write(printHelp(command));
    return;
  }
  await command.run(parseCommandLine(name, command, rest));
}

// It is no error if the reader of the pipe ends early (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(Exit.DONE);
});

// The real path, not that of a link: `up` starts the controller with it, the controller starts the agents, and `down`
// finds these processes by it.
process.argv[1] = fileURLToPath(import.meta.url);

// Directories of programs such as `ip`, which may be missing from PATH under sudo or cron.
process.env.PATH = [...new Set([...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/bin', '/sbin', '/bin'])]
  .filter(Boolean)
  .join(':');

const debug = process.env.DATAPLANE_DEBUG === '1';

main(process.argv.slice(2)).catch((error: unknown) => {
  const { text, status } = describeError(error);
  if (text !== undefined) process.stderr.write(`${text}\n`);
  if (debug && text !== undefined) console.error(error);
  // Not exitCode: a timer or socket left over from a failed start would keep the process alive.
  process.exit(status);
});
