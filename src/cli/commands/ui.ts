/** `dataplane ui`: the cluster on a web page of this machine. */
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { endOnSignals } from '../args/capture-args.ts';
import { portNumber } from '../args/values.ts';
import { BRING_UP, failed, NOT_UP, needRoot } from '../errors.ts';
import { note, print } from '../output/output.ts';

export const command: Command = {
  usage: ['ui [--port N]', 'ui --playground [--port N]'],
  about: `Show the running cluster on a web page: nodes, pods and Services with the traffic between them, flows with the
filters of \`dataplane observe\`, the walk of a packet step by step with its bytes, and which connections a manifest would
change. The page is served on 127.0.0.1 until Ctrl-C; its address contains a token, without which nothing is served.
With --playground, no cluster is needed: the page runs the forwarding pipeline in the browser, over manifests that are
edited there.`,
  options: {
    port: { value: 'N', help: 'port on 127.0.0.1 (default: any that is free)' },
    playground: { help: 'serve the playground, which needs no cluster and no root' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: ['sudo dataplane ui', 'dataplane ui --playground --port 8088'],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('ui', args, 0);
  const port = args.value('port', portNumber) ?? 0;
  const started = (url: string): void => {
    print(url);
    note('open this address in a browser of this machine; Ctrl-C ends');
  };
  if (args.flag('playground')) {
    const { servePlayground } = await import('../sources/ui-page.ts');
    return servePlayground({ port, started }, endOnSignals());
  }
  needRoot('ui');
  const { nodesWithFlows } = await import('../sources/conntrack.ts');
  const nodes = nodesWithFlows();
  if (nodes.length === 0) throw failed(NOT_UP, BRING_UP);
  const { serveCluster } = await import('../sources/ui.ts');
  await serveCluster({ port, started, nodes }, endOnSignals());
}
