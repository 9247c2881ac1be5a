/** `dataplane node`: what an agent has on a machine that is a node of a cluster, and its removal. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { NodePlan } from '../../agent/footprint/plan.ts';
import type { ResetReport } from '../../agent/footprint/reset.ts';
import { API_SOCKET, STATE_DIR } from '../../cluster/state.ts';
import { type Args, type Command, needOperand, operandsAtMost, readVerb } from '../args/args.ts';
import { CNI_OPTIONS, cniOptions, JOIN_OPTIONS, serverToJoin, TAKEOVER_OPTION } from '../args/join-args.ts';
import { ipv4Address, nodeName } from '../args/values.ts';
import { CliError, failed, needRoot, usageError } from '../errors.ts';
import { formatOf, print, printObject } from '../output/output.ts';
import { tableText } from '../output/table.ts';

export const command: Command = {
  usage: [
    'node plan --node NAME (--kubeconfig FILE | --in-cluster | --api TARGET) [--node-ip ADDRESS] [--cni] [--takeover] [--state DIR] [-o json]',
    'node reset --node NAME [--force] [--state DIR]',
  ],
  about: `\`plan\` lists everything that \`dataplane agent\` with the same options has or changes on this machine, with what the machine has
now, and what is in the way. It changes nothing, and exits with 1 if something is in the way.
\`reset\` removes all of that and restores what was changed, after the agent has been stopped. It does not need the API. While
pods of the node are connected it refuses, because they would lose their network; --force removes those that the agent runs
itself, and disconnects those of a container runtime.
Both work in the network namespace in which they are started.`,
  options: {
    node: { value: 'NAME', help: 'the name of its Node object' },
    api: { value: 'TARGET', help: 'a unix socket or http://HOST:PORT of a `dataplane controller`' },
    ...JOIN_OPTIONS,
    cni: { help: 'with the CNI plugin, as in `dataplane agent --cni`' },
    ...CNI_OPTIONS,
    ...TAKEOVER_OPTION,
    force: { help: '`reset` although pods are connected' },
    state: { value: 'DIR', help: `directory of the node's state (default ${STATE_DIR})` },
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane node plan --node worker-1 --kubeconfig /etc/kubernetes/kubelet.conf --cni',
    'dataplane node reset --node worker-1',
  ],
  run,
};

const VERBS = ['plan', 'reset'] as const;

async function run(args: Args): Promise<void> {
  const verb = readVerb('node', needOperand('node', args, 0, 'what to do'), VERBS);
  operandsAtMost(`node ${verb}`, args, 1);
  const node = args.value('node', nodeName);
  if (node === undefined) throw usageError(`dataplane node ${verb}: --node NAME is missing`);
  const stateDir = args.text('state') ?? STATE_DIR;
  return verb === 'plan' ? plan(args, node, stateDir) : reset(args, node, stateDir);
}

async function plan(args: Args, node: string, stateDir: string): Promise<void> {
  const format = formatOf(args.text('output'), ['json']);
  const nodeIP = args.value('node-ip', ipv4Address);
  const server = await serverToJoin('node plan', args);
  needRoot('node plan');
  const { ApiClient } = await import('../../api/client/client.ts');
  const { previewConfig } = await import('../../agent/read-config.ts');
  const { planNode } = await import('../../agent/footprint/plan.ts');
  const client = new ApiClient(server ?? args.text('api') ?? API_SOCKET, { program: 'dataplane' });
  try {
    const config = await previewConfig(client, node, server && { server, nodeIP });
    const found = planNode({
      config,
      stateDir,
      cni: args.flag('cni') ? cniOptions(args) : undefined,
      takeover: args.flag('takeover'),
    });
    if (format === 'json') await printObject(found, 'json');
    else print(planText(found));
    if (found.conflicts.length > 0)
      throw failed(`node ${node}: an agent would not work here`, 'see what is in the way');
  } catch (error) {
    throw error instanceof CliError ? error : failed(`node ${node}: ${(error as Error).message}`);
  } finally {
    client.close();
  }
}

function planText({ items, conflicts }: NodePlan): string {
  const rows = items.map(({ kind, name, now, withAgent }) => [kind, name, now || '-', withAgent]);
  const obstacles = conflicts.length === 0 ? '' : `\nIn the way:\n${conflicts.map((one) => `  ${one}\n`).join('')}`;
  return `${tableText([['KIND', 'NAME', 'NOW', 'WITH AN AGENT'], ...rows])}${obstacles}`;
}

async function reset(args: Args, node: string, stateDir: string): Promise<void> {
  needRoot('node reset');
  const { podsOf, resetNode } = await import('../../agent/footprint/reset.ts');
  const { takeLock } = await import('../../linux/lock-file.ts');
  const directory = join(stateDir, 'nodes', node);
  if (!existsSync(directory)) throw failed(`node ${node}: no agent of it has run here`, `${directory} does not exist`);
  const lock = takeLock(join(directory, 'agent.lock'));
  if (typeof lock === 'string') {
    throw failed(`node ${node}: its agent is running (pid ${lock})`, 'stop it first; nothing was changed');
  }
  try {
    const { own, connected } = podsOf({ node, stateDir });
    const pods = own.length + connected.length;
    if (pods > 0 && !args.flag('force')) {
      throw failed(
        `node ${node}: ${pods} ${pods === 1 ? 'pod is' : 'pods are'} connected, and would lose the network`,
        'drain the node first (kubectl drain), or give --force; nothing was changed',
      );
    }
    const report = await resetNode({ node, stateDir, cni: cniOptions(args) });
    print(resetText(node, report));
  } catch (error) {
    throw error instanceof CliError ? error : failed(`node ${node}: ${(error as Error).message}`);
  } finally {
    lock.release();
  }
}

function resetText(node: string, { devices, pods, files, rules, routes, settings }: ResetReport): string {
  const count = (n: number, one: string): string => `${n} ${one}${n === 1 ? '' : 's'}`;
  const removed = [
    ...devices,
    count(rules, 'rule'),
    count(routes, 'route'),
    count(files, 'file'),
    count(pods, 'pod'),
  ].join(', ');
  return `node ${node}: removed ${removed}; restored ${count(settings, 'setting')}`;
}
