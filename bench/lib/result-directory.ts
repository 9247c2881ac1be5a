/** Where results are kept: in a folder of bench/results for each kind of machine, so that none overwrites another's. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Repository root: the directory with package.json, above the source or the built script. */
export function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) {
    const above = dirname(directory);
    if (above === directory) throw new Error('package.json not found above the script');
    directory = above;
  }
  return directory;
}

/** The folder of this machine, which is created. */
export function resultDirectory(): string {
  const directory = join(repositoryRoot(), 'bench/results', processorName(readFileSync('/proc/cpuinfo', 'utf8')));
  mkdirSync(directory, { recursive: true });
  return directory;
}

/**
 * A name for the processor: its model, and its numbers, because hypervisors give different processors one model name.
 * @param cpuinfo /proc/cpuinfo. On ARM it has a part number instead of a model
 */
function processorName(cpuinfo: string): string {
  const field = (name: string): string => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1]?.trim() ?? '';
  const model = field('model name').replace(/\((R|TM)\)|Processor|CPU|@.*$|\d+-Core/gi, ' ');
  const numbers = [field('cpu family') || field('CPU architecture'), field('model') || field('CPU part')];
  const words = [model || field('CPU implementer'), ...numbers].join(' ').toLowerCase();
  return words.match(/[a-z0-9]+/g)?.join('-') ?? 'unknown';
}
