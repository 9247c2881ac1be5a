/** What can be completed: the commands, their options, and what kind of word their operands are. */
import { RESOURCES } from '../../api/resources.ts';
import type { Command, Option, Options } from '../args/args.ts';

/** Kinds, objects of a kind that is named before, objects of one kind, shells; `files`: what the shell itself offers. */
export type Operand = 'kinds-and-names' | 'pods' | 'shells' | 'files' | 'nothing';

export interface CompletedOption {
  /** `--nodes` */
  name: string;
  short: string | undefined;
  /** What its value is; undefined for a flag. */
  value: 'file' | 'namespace' | 'other' | undefined;
  help: string;
}

export interface CompletedCommand {
  name: string;
  about: string;
  options: readonly CompletedOption[];
  operand: Operand;
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

const OPERANDS: Readonly<Record<string, Operand>> = {
  get: 'kinds-and-names',
  describe: 'kinds-and-names',
  delete: 'kinds-and-names',
  exec: 'pods',
  logs: 'pods',
  restart: 'pods',
  'port-forward': 'pods',
  run: 'files',
  completion: 'shells',
};

/** Names of kinds as people type them. */
export const KINDS: readonly string[] = ['all', ...RESOURCES.map(({ plural }) => plural)];

/** The commands by their names, each loaded when it is needed. */
export type CommandTable = Readonly<Record<string, { about: string; load(): Promise<{ command: Command }> }>>;

/** Loads every command. */
export async function completedCommands(commands: CommandTable): Promise<CompletedCommand[]> {
  const loaded = Object.entries(commands).map(async ([name, { about, load }]) => {
    const { command } = await load();
    return { name, about, options: optionsOf(command.options), operand: OPERANDS[name] ?? 'nothing' };
  });
  return Promise.all(loaded);
}

const optionsOf = (options: Options): CompletedOption[] =>
  Object.entries(options).map(([name, option]) => ({
    name: `--${name}`,
    short: option.short === undefined ? undefined : `-${option.short}`,
    value: kindOfValue(name, option),
    help: option.help,
  }));

function kindOfValue(name: string, { value, optionalValue }: Option): CompletedOption['value'] {
  if (value === undefined || optionalValue) return undefined;
  if (name === 'namespace') return 'namespace';
  return /FILE|DIR|PATH/.test(value) ? 'file' : 'other';
}
