/** The command lines of the launcher, a program of its own (src/runtime/launcher/main.ts). */
import { fileURLToPath } from 'node:url';
import type { Confinement } from '../launcher/confine.ts';

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
