/** `dataplane status`: the state of nodes, agents, workers and tables. */
import { printAge } from '../../api/tables/age.ts';
import { readClusterFile } from '../../cluster/state.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { BRING_UP, failed, NOT_UP, needRoot } from '../errors.ts';
import { printDrops } from '../output/drops.ts';
import { paint } from '../output/highlight.ts';
import { formatOf, print } from '../output/output.ts';
import { tableText, terminalOf } from '../output/table.ts';
import { egressLines, readEgress } from '../sources/egress.ts';
import { type NodeStatus, readDrops, readStatus } from '../sources/status.ts';

export const command: Command = {
  usage: ['status [-o json]', 'status --drops [-o json]'],
  about: `Show the state of the cluster: nodes and their agents, forwarding workers and their drops, the overlay, and the use
of the connection tables. With --drops: packets that did not arrive, by reason, with what happened and what to do, and the last of them. Reads
shared memory, so it works while the controller or an agent is down.`,
  options: {
    drops: { help: 'packets that did not arrive, by node and reason' },
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('status', args, 0);
  const json = formatOf(args.text('output'), ['json']) === 'json';
  const cluster = readClusterFile();
  if (cluster === undefined) {
    needRoot('status');
    throw failed(NOT_UP, BRING_UP);
  }
  if (args.flag('drops')) {
    const { readLastDrops } = await import('../sources/last-drops.ts');
    printDrops(readDrops(), await readLastDrops(), json);
    return;
  }
  const { controller, nodes } = await readStatus(cluster);
  const egress = await readEgress(cluster);
  if (json) {
    print(JSON.stringify({ label: cluster.label, startedAt: cluster.startedAt, controller, nodes, egress }, null, 2));
  } else {
    const age = printAge(Date.now() - Date.parse(cluster.startedAt));
    const where = controller.running
      ? `controller ${controller.pid}`
      : paint(terminalOf()?.colour ? 'red' : undefined, 'controller not running');
    print(
      `Cluster up for ${age}, ${where}, ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}\n\n${tables(nodes)}`,
    );
    for (const { name, message } of nodes) if (message !== undefined) print(`node ${name} is not ready: ${message}`);
    for (const { name, resourcesNotEnforced: why } of nodes) {
      if (why !== undefined) print(`node ${name} does not enforce requests and limits of pods: ${why}`);
    }
    for (const { name, diskPressure } of nodes) {
      if (diskPressure !== undefined) print(`node ${name} is short of storage: ${diskPressure}`);
    }
    for (const { name, refused } of nodes) for (const line of refusedLines(name, refused)) print(line);
    for (const line of egressLines(egress)) print(line);
  }
}

function refusedLines(node: string, refused: NodeStatus['refused']): string[] {
  return refused.map(({ pod, newConnections, replies, overShare, withoutSourcePort }) => {
    const whats = [
      ...(newConnections > 0 ? [`${newConnections} new connections`] : []),
      ...(replies > 0 ? [`${replies} replies (resets and ICMP errors)`] : []),
      ...(overShare > 0 ? [`${overShare} connections over its share of the connection table`] : []),
      ...(withoutSourcePort > 0 ? [`${withoutSourcePort} connections for which no source port was free`] : []),
    ];
    return `pod ${pod} on node ${node} was refused ${whats.join(' and ')}: it has used up its budget`;
  });
}

function tables(nodes: readonly NodeStatus[]): string {
  const nodeRows = nodes.map((node) => [
    node.name,
    node.ready ? 'Ready' : 'NotReady',
    node.ip,
    node.agentPid === null ? 'not running' : String(node.agentPid),
    String(node.pods),
    `${node.conntrack.entries}/${node.conntrack.max}`,
    node.overlay.mode,
    node.overlay.tunnelOffload ? 'on' : 'off',
    String(node.overlay.mtu),
  ]);
  const header = ['NODE', 'STATUS', 'IP', 'AGENT', 'PODS', 'CONNECTIONS', 'OVERLAY', 'OFFLOAD', 'MTU'];
  const workers = nodes.flatMap((node) =>
    node.workers.map((worker) => [
      node.name,
      String(worker.id),
      worker.threadState,
      String(worker.restarts),
      String(worker.framesIn),
      String(worker.framesOut),
      drops(worker.drops),
    ]),
  );
  const workerHeader = ['NODE', 'WORKER', 'STATE', 'RESTARTS', 'FRAMES-IN', 'FRAMES-OUT', 'DROPS'];
  return `${tableText([header, ...nodeRows])}\n${tableText([workerHeader, ...workers])}`;
}

/** The most frequent drop reasons, and the number of others. */
function drops(counts: Record<string, number>): string {
  const all = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (all.length === 0) return '0';
  const shown = all.slice(0, 3).map(([reason, count]) => `${reason}=${count}`);
  return all.length > 3 ? `${shown.join(' ')} +${all.length - 3} more` : shown.join(' ');
}
