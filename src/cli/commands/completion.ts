/** `dataplane completion`: a script that completes commands, options, kinds and names in a shell. */
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import type { CommandTable } from '../completion/words.ts';
import { usageError } from '../errors.ts';
import { print } from '../output/output.ts';

/** The table is passed in: it has this command too. */
export function completionOf(commands: CommandTable): { command: Command } {
  return { command: { ...COMMAND, run: (args) => run(args, commands) } };
}

const COMMAND = {
  usage: ['completion bash|zsh|fish'],
  about: `Print a script for the shell that completes commands, options, kinds, and names of objects of the cluster that is up.`,
  options: { help: { short: 'h', help: 'show this help' } },
  examples: [
    'source <(dataplane completion bash)',
    'dataplane completion zsh > /usr/local/share/zsh/site-functions/_dataplane',
    'dataplane completion fish > ~/.config/fish/completions/dataplane.fish',
  ],
};

async function run(args: Args, commands: CommandTable): Promise<void> {
  operandsAtMost('completion', args, 1);
  const { completedCommands, SHELLS } = await import('../completion/words.ts');
  const [asked] = args.operands;
  const shell = SHELLS.find((name) => name === asked);
  if (shell === undefined) {
    throw usageError(
      `${asked === undefined ? 'no shell' : `"${asked}" is not a shell`} to complete for`,
      `expected one of ${SHELLS.join(', ')}`,
    );
  }
  const { completionScript } = await import('../completion/scripts.ts');
  print(completionScript(shell, await completedCommands(commands)).trimEnd());
}
