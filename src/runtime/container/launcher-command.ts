/** The command lines of the launcher, a program of its own (src/runtime/launcher/main.ts). */
import { fileURLToPath } from 'node:url';
import { type Confinement, GROUP_FD } from '../launcher/confine.ts';
import { quote } from '../shell.ts';

const LAUNCHER = fileURLToPath(new URL('../launcher/main.js', import.meta.url));

/** Node would write its warnings into the container's log. */
export const LAUNCHER_COMMAND = [process.execPath, '--no-warnings', LAUNCHER];

/** Prefix of a command whose system calls are to be filtered. */
export const confineCommand = (confinement: Confinement): string[] => [
  ...LAUNCHER_COMMAND,
  'confine',
  JSON.stringify(confinement),
  '--',
];

/**
 * Commands of a shell that join control groups. If system calls are to be filtered, the first group, which limits memory,
 * is only opened: the program that `confineCommand` precedes joins it.
 */
export const joinCommands = (groups: readonly string[], filtered: boolean): string[] =>
  groups.map((file, i) => (filtered && i === 0 ? `exec ${GROUP_FD}> ${quote(file)}` : `echo 0 > ${quote(file)}`));
