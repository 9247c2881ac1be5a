/** `dataplane top`: the load of nodes and workers, and the busiest connections, live. */
import { clearScreenDown, cursorTo, emitKeypressEvents, type Key } from 'node:readline';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { oneOf, seconds } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot, usageError } from '../errors.ts';
import { fitScreen, loadText, MAX_FLOWS, SORT_KEYS, type SortKey } from '../output/load-screen.ts';
import { formatOf, print } from '../output/output.ts';
import type { FlowNames } from '../sources/flow-names.ts';
import type { Load, LoadMeter } from '../sources/load.ts';

export const command: Command = {
  usage: ['top [--sort KEY] [--interval TIME]', 'top --once [--interval TIME] [-o json]'],
  about: `Show the load of nodes and workers (frames, bits and drops a second, connections) and the connections with the most
bytes, again and again. Keys: n, b, p, d and c sort nodes and workers by name, bytes, packets, drops or connections; q ends.`,
  options: {
    sort: { value: 'KEY', help: `${SORT_KEYS.join(', ')} (default name)` },
    interval: { value: 'TIME', help: 'time between two measurements (default 1s)' },
    once: { help: 'measure for one interval, print, and end' },
    output: { short: 'o', value: 'FORMAT', help: 'json, with --once' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['dataplane top --sort drops', 'dataplane top --once -o json'],
  run,
};

const ENTER_SCREEN = '\x1b[?1049h\x1b[?25l';
const LEAVE_SCREEN = '\x1b[?25h\x1b[?1049l';
const CLEAR_LINE = '\x1b[K';

const KEYS: Readonly<Record<string, SortKey>> = {
  n: 'name',
  b: 'bytes',
  p: 'packets',
  d: 'drops',
  c: 'connections',
};

async function run(args: Args): Promise<void> {
  operandsAtMost('top', args, 0);
  const sort = args.value('sort', oneOf(...SORT_KEYS)) ?? 'name';
  const intervalMs = (args.value('interval', seconds) ?? 1) * 1000;
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const once = args.flag('once') || !process.stdout.isTTY;
  if (json && !args.flag('once')) throw usageError('-o json needs --once');
  needRoot('top');
  const [{ nodesWithFlows }, { LoadMeter }, { openFlowNames }] = await Promise.all([
    import('../sources/conntrack.ts'),
    import('../sources/load.ts'),
    import('../sources/flow-names.ts'),
  ]);
  if (nodesWithFlows().length === 0) throw failed(NOT_UP, BRING_UP);
  const names = await openFlowNames();
  const meter = new LoadMeter();
  try {
    if (once) {
      await new Promise((resolve) => setTimeout(resolve, intervalMs));
      const load = meter.look(MAX_FLOWS);
      print(json ? JSON.stringify(asJson(load), null, 2) : loadText(load, sort, names.addresses));
    } else await watch(meter, names, sort, intervalMs);
  } finally {
    meter.close();
    names.close();
  }
}

/** Redraws the screen until q or Ctrl-C. */
async function watch(meter: LoadMeter, names: FlowNames, first: SortKey, intervalMs: number): Promise<void> {
  const { stdin, stdout } = process;
  let sort = first;
  let load = meter.look(MAX_FLOWS);
  const draw = (): void => {
    const help = `sorted by ${sort} (n b p d c) · q quits${names.missing === undefined ? '' : ` · names are missing`}`;
    const text = `${help}\n\n${loadText(load, sort, names.addresses)}`;
    const lines = fitScreen(text, stdout.columns || 80, (stdout.rows || 24) - 1);
    cursorTo(stdout, 0, 0);
    stdout.write(lines.map((line) => `${line}${CLEAR_LINE}\n`).join(''));
    clearScreenDown(stdout);
  };
  stdout.write(ENTER_SCREEN);
  const timer = setInterval(() => {
    load = meter.look(MAX_FLOWS);
    draw();
  }, intervalMs);
  stdout.on('resize', draw);
  draw();
  try {
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
      if (!stdin.isTTY) return;
      stdin.setRawMode(true);
      emitKeypressEvents(stdin);
      stdin.on('keypress', (_text: string | undefined, { name = '', ctrl = false }: Key) => {
        if (name === 'q' || (ctrl && name === 'c')) resolve();
        const chosen = ctrl ? undefined : KEYS[name];
        if (chosen === undefined) return;
        sort = chosen;
        draw();
      });
    });
  } finally {
    clearInterval(timer);
    stdout.off('resize', draw);
    if (stdin.isTTY) stdin.setRawMode(false).pause();
    stdout.write(LEAVE_SCREEN);
  }
}

/** Protocols by their names; everything else as it is measured. */
const asJson = (load: Load) => ({
  ...load,
  flows: load.flows.map(({ flow, ...rest }) => ({ ...rest, ...flow, protocol: protocolName(flow.protocol) })),
});
