/**
 * `dataplane collect`: writes the state of a cluster to a directory, for a bug report or as an artefact of a CI job.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { BRING_UP, failed, NOT_UP, needRoot } from '../errors.ts';
import { note, Progress, print } from '../output/output.ts';

export const command: Command = {
  usage: ['collect [-o DIR]'],
  about: `Write the state of the cluster that is up into a directory: every object, events, descriptions of nodes and pods, logs
of containers, controller and agents, tracked connections, drops, and each node's addresses, routes and firewall rules. The values of
Secrets are left out; logs and the environment of containers are not searched for secrets. Works as far as possible while a part of the
cluster is down, and lists what could not be had in missing.txt.`,
  options: {
    output: { short: 'o', value: 'DIR', help: 'the directory, new or empty (default: dataplane-DATE-TIME here)' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane collect -o artefacts'],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('collect', args, 0);
  needRoot('collect');
  const { readClusterFile, STATE_DIR } = await import('../../cluster/state.ts');
  const cluster = readClusterFile();
  if (cluster === undefined) throw failed(NOT_UP, BRING_UP);
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  const directory = resolve(args.text('output') ?? `dataplane-${stamp}`);
  makeDirectory(directory);
  const { collect } = await import('../../cluster/collect/collect.ts');
  const progress = new Progress();
  const { files, missing } = await collect({
    directory,
    stateDir: STATE_DIR,
    nodes: cluster.nodes.map(({ name }) => name),
    program: [process.execPath, process.argv[1]!],
    onProgress: (text) => progress.show(text),
  });
  progress.clear();
  print(`${files} files in ${directory}`);
  if (missing > 0) note(`${missing} could not be collected: see ${directory}/missing.txt`);
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (readdirSync(directory).length === 0) return;
  } catch (error) {
    throw failed(`-o ${directory}: ${(error as Error).message}`, 'choose another directory');
  }
  throw failed(`-o ${directory} is not empty`, 'choose another directory');
}
