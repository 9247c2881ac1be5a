/** `dataplane down`: removes the cluster. */
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { needRoot } from '../errors.ts';
import { print } from '../output/output.ts';

export const command: Command = {
  usage: ['down'],
  about: `Remove the cluster: controller, agents, pods, network namespaces, shared tables and state. Works in any state of
the cluster, also after a crash. Succeeds if there is nothing to remove.`,
  options: { help: { short: 'h', help: 'show this help' } },
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('down', args, 0);
  needRoot('down');
  const { tearDown } = await import('../../cluster/tear-down.ts');
  const { describeTearDown } = await import('../output/tear-down.ts');
  print(describeTearDown(await tearDown()) ?? 'there was nothing to remove');
}
