/** What the machine knows: kernel and programs, the nodes' networks, tables, and logs of controller and agents. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { cpus, freemem, hostname, loadavg, release, totalmem, uptime } from 'node:os';
import { join } from 'node:path';
import { networkNamespaceOf } from '../network-namespaces.ts';
import type { Item, Run } from './item.ts';

/** The last bytes of a log that are kept. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;

export function hostFiles(run: Run): Item[] {
  return [
    {
      path: 'host.txt',
      read: () => {
        const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`;
        return [
          `date      ${new Date().toISOString()}`,
          `host      ${hostname()}, up ${Math.round(uptime() / 60)} min`,
          `kernel    ${release()}`,
          `node.js   ${process.version}`,
          `cpu       ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, load ${loadavg()
            .map((load) => load.toFixed(1))
            .join(' ')}`,
          `memory    ${megabytes(freemem())} free of ${megabytes(totalmem())}`,
          '',
        ].join('\n');
      },
    },
    { path: 'processes.txt', read: () => run('ps', ['-eo', 'pid,ppid,stat,etime,rss,pcpu,args', '--sort=pid']) },
  ];
}

/** In each node's network namespace: what decides about its packets beside the data plane. */
const NETWORK: Readonly<Record<string, readonly string[]>> = {
  'addresses.txt': ['ip', '-details', '-statistics', 'address'],
  'routes.txt': ['ip', 'route', 'show', 'table', 'all'],
  'rules.txt': ['ip', 'rule'],
  'neighbours.txt': ['ip', 'neighbour'],
  'nftables.txt': ['nft', '-a', 'list', 'ruleset'],
  'sockets.txt': ['ss', '-tuanp'],
  'qdiscs.txt': ['tc', '-statistics', 'qdisc'],
};

export function nodeFiles(
  { stateDir, nodes }: { readonly stateDir: string; readonly nodes: readonly string[] },
  run: Run,
  dataplane: (...words: string[]) => Promise<string>,
): Item[] {
  const items: Item[] = [
    { path: 'controller.log', read: () => endOf(join(stateDir, 'controller.log')) },
    { path: 'status.txt', read: () => dataplane('status') },
    { path: 'status.json', read: () => dataplane('status', '-o', 'json') },
    { path: 'options.json', read: () => dataplane('config', 'get', '-o', 'json') },
  ];
  for (const node of nodes) {
    const at = (file: string) => `nodes/${node}/${file}`;
    items.push(
      { path: at('agent.log'), read: () => endOf(join(stateDir, `agent-${node}.log`)) },
      { path: at('connections.json'), read: () => dataplane('conntrack', 'list', '--node', node, '-o', 'json') },
    );
    const netns = networkNamespaceOf({ kind: 'node', name: node });
    for (const [file, words] of Object.entries(NETWORK)) {
      items.push({
        path: at(file),
        read: () => {
          if (netns === undefined) throw new Error('the node has no network namespace on this machine');
          return run('nsenter', [`--net=${netns}`, '--', ...words]);
        },
      });
    }
  }
  return items;
}

/** The end of a file, at most MAX_LOG_BYTES. @throws Error if it cannot be read */
export function endOf(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(size, MAX_LOG_BYTES));
    const length = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}
