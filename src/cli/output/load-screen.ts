/** The tables of `dataplane top`, as lines that fit a screen. */
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import type { FlowAddresses } from '../../observe/flows/addresses.ts';
import type { FlowLoad, Load, NodeLoad, WorkerLoad } from '../sources/load.ts';
import { layOut } from './table.ts';

export const SORT_KEYS = ['name', 'bytes', 'packets', 'drops', 'connections'] as const;
export type SortKey = (typeof SORT_KEYS)[number];

/** Connections to show if the height is not limited. */
export const MAX_FLOWS = 20;

/** A rate in three digits: `0`, `12.3`, `4.56k`. */
export function printRate(perSecond: number): string {
  let value = perSecond;
  for (const unit of ['', 'k', 'M', 'G', 'T']) {
    if (value < 999.5 || unit === 'T') {
      if (unit === '' && Number.isInteger(value)) return String(value);
      return `${value.toPrecision(3)}${unit}`;
    }
    value /= 1000;
  }
  return '';
}

/** Sorts the nodes; by a figure, the largest first. */
export function sortNodes(nodes: readonly NodeLoad[], key: SortKey): NodeLoad[] {
  const figure: Record<SortKey, (node: NodeLoad) => number> = {
    name: () => 0,
    bytes: (node) => node.bytesInPerSecond + node.bytesOutPerSecond,
    packets: (node) => node.framesInPerSecond + node.framesOutPerSecond,
    drops: (node) => node.dropsPerSecond,
    connections: (node) => node.connections.entries,
  };
  return [...nodes].sort((a, b) => figure[key](b) - figure[key](a) || a.node.localeCompare(b.node));
}

/** Sorts the workers; they have neither bytes nor connections of their own. */
export function sortWorkers(workers: readonly WorkerLoad[], key: SortKey): WorkerLoad[] {
  const figure = (worker: WorkerLoad): number => {
    if (key === 'drops') return worker.dropsPerSecond;
    return key === 'name' || key === 'connections' ? 0 : worker.framesInPerSecond + worker.framesOutPerSecond;
  };
  return [...workers].sort((a, b) => figure(b) - figure(a) || a.node.localeCompare(b.node) || a.id - b.id);
}

/** All tables, as text. */
export function loadText({ nodes, workers, flows }: Load, sort: SortKey, addresses: FlowAddresses): string {
  const nodeRows = sortNodes(nodes, sort).map((node) => [
    node.node,
    printRate(node.framesInPerSecond),
    printRate(node.bytesInPerSecond * 8),
    printRate(node.framesOutPerSecond),
    printRate(node.bytesOutPerSecond * 8),
    printRate(node.dropsPerSecond),
    `${node.connections.entries}/${node.connections.max}`,
  ]);
  const workerRows = sortWorkers(workers, sort).map((worker) => [
    worker.node,
    String(worker.id),
    worker.threadState,
    printRate(worker.framesInPerSecond),
    printRate(worker.framesOutPerSecond),
    printRate(worker.dropsPerSecond),
  ]);
  const flowRows = flows.map((load) => [
    load.node,
    protocolName(load.flow.protocol),
    printRate(load.bytesPerSecond * 8),
    printRate(load.packetsPerSecond),
    ...endsOf(load, addresses),
  ]);
  return [
    layOut([['NODE', 'IN/s', 'IN bit/s', 'OUT/s', 'OUT bit/s', 'DROPS/s', 'CONNECTIONS'], ...nodeRows]),
    layOut([['NODE', 'WORKER', 'STATE', 'IN/s', 'OUT/s', 'DROPS/s'], ...workerRows]),
    // Names last: they are what a narrow screen cuts.
    layOut([['NODE', 'PROTOCOL', 'bit/s', 'PACKETS/s', 'CLIENT', 'SERVER'], ...flowRows]),
  ].join('\n');
}

/** Client, and server behind the Service that was asked for. */
function endsOf({ node, flow }: Pick<FlowLoad, 'node' | 'flow'>, addresses: FlowAddresses): [string, string] {
  const { original, reply, protocol } = flow;
  const name = (ip: string, port: number): string => {
    const { namespace = '', pod_name } = addresses.owner(ip, node).endpoint;
    return `${pod_name === undefined ? ip : `${namespace}/${pod_name}`}:${port}`;
  };
  const asked = flow.status.includes('DST_NAT')
    ? addresses.service(original.dst, original.dstPort, protocolName(protocol).toUpperCase())
    : undefined;
  const server = name(reply.src, reply.srcPort);
  return [
    name(original.src, original.srcPort),
    asked === undefined ? server : `${server} (Service ${asked.namespace}/${asked.name})`,
  ];
}

/** The first lines, cut to a screen. */
export function fitScreen(text: string, columns: number, rows: number): string[] {
  return text
    .trimEnd()
    .split('\n')
    .slice(0, rows)
    .map((line) => line.slice(0, columns));
}
