/** `dataplane why`: every check between two ends, in order, and one sentence that names the cause. */
import type { Check } from '../../observe/why/check.ts';
import { type Args, type Command, needOperand, operandsAtMost } from '../args/args.ts';
import { readPlace } from '../args/place.ts';
import { readTarget } from '../args/target.ts';
import { BRING_UP, failed, NOT_UP, needRoot, SilentExit } from '../errors.ts';
import { paint } from '../output/highlight.ts';
import { formatOf, print } from '../output/output.ts';
import { terminalOf } from '../output/table.ts';
import { NAMESPACE_OPTION, namespaceOf } from '../with-client.ts';

export const command: Command = {
  usage: ['why FROM TO[:PORT] [-n NAMESPACE] [-o json]', 'why FROM TO PORT'],
  about: `Find out why FROM cannot connect to TO over TCP: names, service, endpoints, policies, listeners, the nodes and the packet's way
through their tables are checked in order, and a connection is attempted. The last line names the cause. FROM is pod/NAME, node/NAME or
outside; TO is svc/NAME, pod/NAME, node/NAME, an IPv4 address, or a name as the pod would use it. Exits with 1 if something is in the way.`,
  options: {
    ...NAMESPACE_OPTION,
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane why pod/client svc/web:80',
    'dataplane why pod/client web.shop:80',
    'dataplane why outside 172.18.0.11:31418',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  const namespace = namespaceOf(args);
  const from = readPlace(needOperand('why', args, 0, 'FROM'), 'FROM', namespace);
  const to = readTarget(needOperand('why', args, 1, 'TO'), args.operands[2]);
  operandsAtMost('why', args, 3);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  needRoot('why');
  const { readClusterFile } = await import('../../cluster/state.ts');
  if (readClusterFile() === undefined) throw failed(NOT_UP, BRING_UP);
  const { diagnose } = await import('../sources/diagnosis.ts');
  const checks = await diagnose(from, to, namespace, { sends: true });
  const wrong = checks.find(({ ok }) => !ok);
  const cause = wrong?.text ?? `nothing is in the way of ${args.operands[0]} and ${args.operands[1]}`;
  if (json) print(JSON.stringify({ checks, cause, reachable: wrong === undefined }, null, 2));
  else show(checks, wrong === undefined ? cause : `Cause: ${cause}`);
  if (wrong !== undefined) throw new SilentExit(1);
}

function show(checks: readonly Check[], last: string): void {
  const terminal = terminalOf();
  const width = Math.max(...checks.map(({ name }) => name.length), 4);
  for (const { name, ok, text } of checks) {
    const mark = ok ? 'ok  ' : 'FAIL';
    print(`${terminal?.colour ? paint(ok ? 'green' : 'red', mark) : mark} ${name.padEnd(width)}  ${text}`);
  }
  print(/[.?]$/.test(last) ? last : `${last}.`);
}
