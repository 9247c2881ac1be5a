/** `dataplane down`: take it all away. */

import { type Command, operandsAtMost, type Words } from '../args/args.ts';
import { needRoot } from '../errors.ts';
import { print } from '../output/output.ts';

export const command: Command = {
  usage: ['down'],
  about: `Take the cluster away: controller, agents, pods, network namespaces, shared tables and state. Works whatever
state the cluster is in, also after a crash; succeeds when there is nothing.`,
  options: { help: { short: 'h', help: 'this text' } },
  run,
};

async function run(words: Words): Promise<void> {
  operandsAtMost('down', words, 0);
  needRoot('down');
  const { tearDown, tellReport } = await import('../tear-down.ts');
  print(tellReport(await tearDown()) ?? 'there was nothing to take away');
}
