/** `dataplane up`: everything from nothing, or nothing at all. */
import { spawn } from 'node:child_process';
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../../api/client/client.ts';
import type { ClusterOptions } from '../../api/cluster-options.ts';
import type { NodeObject } from '../../api/types/objects.ts';
import type { OffloadName } from '../../linux/tap.ts';
import { isAlive } from '../../runtime/processes.ts';
import { type Command, operandsAtMost, type Words } from '../args/args.ts';
import { CLUSTER_OPTIONS, checkClusterOptions, readClusterOptions, underlayMtuFor } from '../args/cluster-args.ts';
import { oneOf, seconds, wholeNumber } from '../args/values.ts';
import { failed, needRoot, wrongWords } from '../errors.ts';
import type { Document } from '../manifests.ts';
import { note, Progress, print } from '../output/output.ts';
import {
  API_SOCKET,
  CLUSTER_FILE,
  type ClusterFile,
  type ClusterNode,
  markOf,
  readClusterFile,
  STATE_DIR,
  writeClusterFile,
} from '../state.ts';

const DEFAULT_TIMEOUT_SECONDS = 60;

export const command: Command = {
  usage: ['up [-f FILE…] [--nodes N] [OPTIONS]'],
  about: `Bring the cluster up and apply the files. Returns when everything applied is Ready, or takes all of it away
again and says what was not. Nothing is changed before all words and files have been checked.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'manifests: a file, a directory, or - for stdin' },
    nodes: { value: 'N', help: 'number of nodes (default 2)' },
    ...CLUSTER_OPTIONS,
    'no-tunnel-offload': { help: 'split large packets here, also where the kernel could do it' },
    offloads: {
      value: 'LEVEL',
      help: 'best offloads to ask the kernel for, as if it were older: none, checksum, tcp, udp or tunnel (default)',
    },
    'no-underlay-shortcut': { help: "take every frame through the nodes' routing, also where nftables could spare it" },
    catalogue: { value: 'FILE', multiple: true, help: 'more programs for `image:`, beside the built-in ones' },
    timeout: { value: 'SECONDS', help: `how long things may take to be Ready (default ${DEFAULT_TIMEOUT_SECONDS})` },
    foreground: { help: 'stay until Ctrl-C, then take everything away' },
    label: { value: 'TEXT', help: 'a word to know this cluster by, shown by `dataplane status`' },
    help: { short: 'h', help: 'this text' },
  },
  examples: [
    'sudo dataplane up --nodes 2 -f demo/',
    'sudo dataplane up --nodes 3 --overlay host-gw --port-policy declared',
  ],
  run,
};

async function run(words: Words): Promise<void> {
  operandsAtMost('up', words, 0);
  const options = readClusterOptions(words);
  const count = words.value('nodes', wholeNumber(1, 200)) ?? 2;
  const timeoutSeconds = words.value('timeout', seconds) ?? DEFAULT_TIMEOUT_SECONDS;
  await checkClusterOptions(options);
  if (options.overlay === 'ipip' && options.ipipTransport === 'raw-socket') await checkRawSocket();
  const { checkMachine, makeWorld, planNodes, roomForNodes } = await import('../world.ts');
  if (count > roomForNodes(options.podCidr)) {
    const room = roomForNodes(options.podCidr);
    throw wrongWords(`--nodes ${count}: ${options.podCidr} has room for ${room}`, 'choose a larger --pod-cidr');
  }
  needRoot('up');
  const catalogue = words.texts('catalogue').map(findCatalogue);
  const nodes = planNodes(count, options.podCidr, options.underlayCidr);
  const { inOrder, parseManifests, readSources } = await import('../manifests.ts');
  const documents = inOrder(parseManifests(readSources(words.texts('file'))));
  const { checkImages, checkPlacement } = await import('../placement.ts');
  checkPlacement(documents, nodes);
  checkImages(documents, catalogue);
  for (const warning of documents.flatMap((document) => document.warnings)) note(`Warning: ${warning}`);
  checkMachine();

  const cluster: ClusterFile = {
    options,
    nodes,
    underlayMtu: underlayMtuFor(options),
    ...offloadsOf(words),
    noUnderlayShortcut: words.flag('no-underlay-shortcut'),
    catalogue,
    startedAt: new Date().toISOString(),
    bringingUp: markOf(process.pid),
    ...(words.text('label') !== undefined && { label: words.text('label')! }),
  };
  await claim(cluster);
  const stop = new AbortController();
  const interrupt = (signal: NodeJS.Signals) =>
    stop.abort(failed(`interrupted (${signal})`, 'everything was taken away again'));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  const progress = new Progress();
  try {
    const { ApiClient } = await import('../../api/client/client.ts');
    progress.say('making the network…');
    await makeWorld(nodes, options.underlayCidr, cluster.underlayMtu);
    stop.signal.throwIfAborted();
    progress.say('starting the controller…');
    cluster.controller = startController();
    writeClusterFile(cluster);
    const client = new ApiClient(API_SOCKET);
    const deadline = Date.now() + timeoutSeconds * 1000;
    await waitForApi(cluster, deadline, stop.signal);
    await Promise.all(nodes.map((node) => client.create<NodeObject>(nodeObject(node, options))));
    const { waitUntilReady } = await import('../wait-ready.ts');
    const waiting = { deadline, signal: stop.signal, progress, timeoutSeconds };
    // Pods are placed by how many a node has, so all nodes are there before the first pod is.
    const [pods, others] = [documents.filter(startsPods), documents.filter((document) => !startsPods(document))];
    await applyAll(client, others, stop.signal, progress);
    await waitUntilReady(client, nodes, [], waiting);
    await applyAll(client, pods, stop.signal, progress);
    await waitUntilReady(
      client,
      nodes,
      pods.map(({ object }) => object),
      waiting,
    );
    stop.signal.throwIfAborted();
    delete cluster.bringingUp;
    writeClusterFile(cluster);
    progress.clear();
    client.close();
    print(await summary(nodes, documents.length));
    if (words.flag('foreground')) await stay(cluster, stop.signal);
  } catch (error) {
    progress.clear();
    const { tearDown } = await import('../tear-down.ts');
    const told = stop.signal.aborted ? (stop.signal.reason as Error) : await explain(error as Error);
    await tearDown();
    throw told;
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt);
}

/** IPIP's default way needs an optional package with a native part. */
async function checkRawSocket(): Promise<void> {
  const { RAW_SOCKET_HINT, whyNoRawSocket } = await import('../../linux/raw-socket.ts');
  const why = whyNoRawSocket();
  if (why === undefined) return;
  throw failed(
    `--overlay ipip needs the npm package raw-socket: ${why}`,
    `${RAW_SOCKET_HINT}, or take --ipip-transport dp0`,
  );
}

/** The level that is asked for; nothing when it is all the kernel has. */
function offloadsOf(words: Words): { offloads?: OffloadName } {
  const asked = words.value('offloads', oneOf('none', 'checksum', 'tcp', 'udp', 'tunnel')) ?? 'tunnel';
  const offloads = words.flag('no-tunnel-offload') && asked === 'tunnel' ? 'udp' : asked;
  return offloads === 'tunnel' ? {} : { offloads };
}

const startsPods = ({ object }: Document) => ['Pod', 'Deployment', 'ReplicaSet'].includes(object.kind);

async function applyAll(client: ApiClient, documents: readonly Document[], signal: AbortSignal, progress: Progress) {
  const { applyObject } = await import('../apply-object.ts');
  for (const { object, where } of documents) {
    signal.throwIfAborted();
    const { name } = object.metadata;
    progress.say(`applying ${object.kind} ${name}…`);
    await applyObject(client, object).catch((error: Error) => {
      throw failed(`${where}: ${object.kind} ${name}: ${error.message}`, 'everything was taken away again');
    });
  }
}

/** The state directory is ours from here on; two `up` at the same time end with one cluster. */
async function claim(cluster: ClusterFile): Promise<void> {
  const there = readClusterFile();
  if (there !== undefined) {
    if (isAlive(there.bringingUp)) throw failed('another `dataplane up` is at work', 'wait for it');
    if (isAlive(there.controller)) {
      const since = `since ${there.startedAt.replace('T', ' ').slice(0, 19)} UTC`;
      throw failed(`a cluster is already up (${since})`, '`dataplane down` takes it away');
    }
  }
  const { anythingThere, namespaces } = await import('../tear-down.ts');
  if (anythingThere()) {
    const what = namespaces().length > 0 ? ` (${namespaces().slice(0, 3).join(', ')}…)` : '';
    throw failed(`something of an earlier cluster is still there${what}`, '`dataplane down` takes it away');
  }
  mkdirSync(STATE_DIR, { recursive: true, mode: 0o755 });
  try {
    writeFileSync(CLUSTER_FILE, JSON.stringify(cluster), { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw failed('another `dataplane up` is at work', 'wait for it');
  }
}

/** The absolute path of a file that can be read. */
function findCatalogue(path: string): string {
  try {
    accessSync(path, constants.R_OK);
    return resolve(path);
  } catch {
    throw failed(`--catalogue ${path}: the file cannot be read`, 'check the word after --catalogue');
  }
}

/** Starts the daemon as a session of its own; it outlives this command. */
function startController() {
  const log = openSync(join(STATE_DIR, 'controller.log'), 'a', 0o600);
  const main = process.argv[1]!;
  const words = [...process.execArgv, main, 'controller', '--state', STATE_DIR];
  const child = spawn(process.execPath, words, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  child.on('error', () => {});
  if (child.pid === undefined) throw failed('the controller could not be started');
  child.unref();
  return markOf(child.pid);
}

async function waitForApi(cluster: ClusterFile, deadline: number, signal: AbortSignal): Promise<void> {
  const { connect } = await import('node:net');
  for (;;) {
    signal.throwIfAborted();
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(API_SOCKET, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    if (!isAlive(cluster.controller)) throw failed('the controller ended at once');
    if (Date.now() > deadline) throw failed('the controller does not answer');
    await sleep(10);
  }
}

/** The error, with the last line of the controller's log where that says more. */
async function explain(error: Error): Promise<Error> {
  if (!/^the controller (ended|does)/.test(error.message)) return error;
  const log = readFileSync(join(STATE_DIR, 'controller.log'), 'utf8').trim().split('\n');
  return failed(error.message, log.at(-1) || 'its log is empty');
}

function nodeObject(node: ClusterNode, options: ClusterOptions) {
  const gateway = node.podCIDR.replace(/0\/24$/, '1');
  const mac = `0a:58:${gateway
    .split('.')
    .map((octet) => Number(octet).toString(16).padStart(2, '0'))
    .join(':')}`;
  const backend = options.overlay === 'vxlan' ? { VNI: options.vni, VtepMAC: mac } : null;
  return {
    apiVersion: 'v1' as const,
    kind: 'Node' as const,
    metadata: {
      name: node.name,
      labels: { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux' },
      annotations: {
        'flannel.alpha.coreos.com/backend-type': options.overlay,
        'flannel.alpha.coreos.com/backend-data': JSON.stringify(backend),
        'flannel.alpha.coreos.com/public-ip': node.ip,
        'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      },
    },
    spec: { podCIDR: node.podCIDR, podCIDRs: [node.podCIDR] },
    status: {
      addresses: [
        { type: 'InternalIP' as const, address: node.ip },
        { type: 'Hostname' as const, address: node.name },
      ],
    },
  };
}

async function summary(nodes: readonly ClusterNode[], objects: number): Promise<string> {
  const names = nodes.map(({ name, ip }) => `${name} (${ip})`).join(', ');
  const lines = [`The cluster is up: ${nodes.length === 1 ? 'node' : 'nodes'} ${names}.`];
  if (objects > 0) lines.push(`${objects} ${objects === 1 ? 'object' : 'objects'} applied, all Ready.`);
  lines.push('', 'Try next:');
  const example = objects > 0 ? 'dataplane get pods -o wide' : 'dataplane apply -f demo/';
  for (const [words, does] of [
    [example, objects > 0 ? 'what runs where' : 'the mc3 demo'],
    ['dataplane status', 'nodes, workers, tables'],
    ['dataplane conntrack', 'the tracked connections'],
    [`ip netns exec dp-outside ping ${nodes[0]!.ip}`, 'be somebody outside the cluster'],
    ['dataplane down', 'take it all away'],
  ] as const) {
    lines.push(`  ${words.padEnd(44)} ${does}`);
  }
  return lines.join('\n');
}

/** `--foreground`: until a signal, or until the controller is gone. */
async function stay(cluster: ClusterFile, signal: AbortSignal): Promise<void> {
  note('Ctrl-C takes it all away.');
  while (!signal.aborted) {
    if (!isAlive(readClusterFile()?.controller)) {
      throw failed(`the controller (pid ${cluster.controller?.pid}) is gone`, 'everything was taken away');
    }
    await sleep(300, undefined, { signal }).catch(() => {});
  }
  const { tearDown, tellReport } = await import('../tear-down.ts');
  print(tellReport(await tearDown()) ?? 'nothing was left');
}
