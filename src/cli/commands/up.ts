/** `dataplane up`: brings a cluster up; after a failure everything is removed again. */
import { accessSync, constants } from 'node:fs';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterOptions } from '../../api/cluster-options.ts';
import { usesRawSocket } from '../../api/cluster-options.ts';
import type { Cluster } from '../../cluster/bring-up.ts';
import type { ClusterNode } from '../../cluster/state.ts';
import { DEFAULT_TIMEOUT_SECONDS } from '../../cluster/timeout.ts';
import { type PublishedPort, parsePublishedPort } from '../../cluster/ways-in/published-port.ts';
import type { OffloadName } from '../../linux/tap.ts';
import { type Args, type Command, operandsAtMost } from '../args/args.ts';
import { CLUSTER_OPTIONS, checkClusterOptions, readClusterOptions } from '../args/cluster-args.ts';
import { oneOf, portNumber, wholeNumber } from '../args/values.ts';
import { jobReadiness, WAIT_FOR_JOBS, waitSeconds } from '../args/wait-args.ts';
import { failed, needRoot, usageError } from '../errors.ts';
import { note, Progress, print } from '../output/output.ts';

export const command: Command = {
  usage: ['up [-f FILE…] [--nodes N] [OPTIONS]'],
  about: `Bring a cluster up and apply the files. Returns when everything applied is Ready. Otherwise prints what is not
Ready, with the last lines of its output, and removes everything again (see --keep-on-failure). All arguments and files
are checked before anything is changed.`,
  options: {
    file: { short: 'f', value: 'FILE', multiple: true, help: 'manifests: a file, a directory, or - for stdin' },
    nodes: { value: 'N', help: 'number of nodes (default 2)' },
    ...CLUSTER_OPTIONS,
    'no-tunnel-offload': { help: 'segment large packets in the data plane, even where the kernel could' },
    offloads: {
      value: 'LEVEL',
      help: 'highest offload to request from the kernel: none, checksum, tcp, udp or tunnel (default)',
    },
    'no-underlay-shortcut': {
      help: "route every frame in the node's namespace, even where nftables could forward it directly",
    },
    catalogue: { value: 'FILE', multiple: true, help: 'programs for `image:`, in addition to the built-in ones' },
    authorization: { value: 'MODE', help: 'open (default): every authenticated user may do everything; or rbac' },
    publish: {
      value: '[HOST:]PORT:svc/NAME[:PORT]',
      multiple: true,
      help: 'a port of this host (default HOST 127.0.0.1) that leads to a service over TCP; NAME.NAMESPACE for another namespace',
    },
    egress: { help: 'pods reach what this host reaches, through slirp4netns; names are resolved as the host does' },
    'api-port': { value: 'PORT', help: 'port of the API on 127.0.0.1 (default: any free port)' },
    wait: {
      value: 'SECONDS',
      optionalValue: true,
      help: `wait until everything is Ready, as without this option; for at most SECONDS (default ${DEFAULT_TIMEOUT_SECONDS})`,
    },
    timeout: { value: 'SECONDS', help: 'the same as --wait=SECONDS' },
    ...WAIT_FOR_JOBS,
    'no-wait': { help: 'return when the nodes are Ready and the files are applied, whatever becomes of their pods' },
    'keep-on-failure': { help: 'do not remove a cluster that does not become Ready, so that you can examine it' },
    foreground: { help: 'stay until Ctrl-C, then remove everything' },
    label: { value: 'TEXT', help: 'a name for this cluster, shown by `dataplane status -o json`' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'sudo dataplane up --nodes 2 -f demo/',
    'sudo dataplane up --nodes 3 --overlay host-gw --port-policy declared',
  ],
  run,
};

async function run(args: Args): Promise<void> {
  operandsAtMost('up', args, 0);
  const options = readClusterOptions(args);
  const count = args.value('nodes', wholeNumber(1, 200)) ?? 2;
  const timeoutSeconds = waitSeconds(args) ?? DEFAULT_TIMEOUT_SECONDS;
  const waitFor = args.flag('no-wait') ? 'none' : jobReadiness(args);
  if (waitFor === 'none') refuseWith(args, 'no-wait', ['wait', 'wait-for-jobs', 'keep-on-failure']);
  const apiPort = args.value('api-port', portNumber);
  const authorization = args.value('authorization', oneOf('open', 'rbac'));
  const published = args.texts('publish').map(readPublishedPort);
  const egress = args.flag('egress');
  if (egress) await prepareEgress(options);
  await checkClusterOptions(options);
  await checkContainerRuntime(options);
  if (usesRawSocket(options)) await checkRawSocket(options.overlay);
  const { roomForNodes } = await import('../../cluster/nodes.ts');
  const room = roomForNodes(options.podCidr);
  if (count > room) {
    throw usageError(`--nodes ${count}: ${options.podCidr} has room for ${room}`, 'choose a larger --pod-cidr');
  }
  needRoot('up');
  const catalogue = args.texts('catalogue').map(findCatalogue);
  const { inOrder, parseManifests, readSources } = await import('../../cluster/manifests/manifests.ts');
  const documents = inOrder(parseManifests(readSources(args.texts('file'))));
  const { warningLines } = await import('../../cluster/manifests/warnings.ts');
  for (const line of warningLines(documents)) note(`Warning: ${line}`);

  for (const port of published) await checkPortIsFree(port);

  const stop = new AbortController();
  const { ClusterError } = await import('../../cluster/errors.ts');
  const interrupt = (signal: NodeJS.Signals) => stop.abort(new ClusterError('INTERRUPTED', `interrupted (${signal})`));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  const progress = new Progress();
  const { bringUp } = await import('../../cluster/bring-up.ts');
  try {
    const cluster = await bringUp({
      options,
      nodes: count,
      documents,
      program: [process.execPath, ...process.execArgv, process.argv[1]!],
      catalogue,
      apiPort,
      authorization: authorization === 'rbac' ? 'rbac' : undefined,
      offloads: offloadsOf(args),
      noUnderlayShortcut: args.flag('no-underlay-shortcut'),
      egress,
      published: args.texts('publish'),
      label: args.text('label'),
      timeoutSeconds,
      waitFor,
      keepOnFailure: args.flag('keep-on-failure'),
      signal: stop.signal,
      onProgress: (text) => progress.show(text),
    });
    progress.clear();
    print(summary(cluster.nodes, documents.length, published));
    if (args.flag('foreground')) await stay(cluster, stop.signal);
  } finally {
    progress.clear();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, interrupt);
  }
}

/** @throws CliError if the option was given with one of the others, which contradict it */
function refuseWith(args: Args, name: string, others: readonly string[]): void {
  const other = others.find((each) => args.has(each));
  if (other !== undefined) throw usageError(`--${name} and --${other} exclude each other`, 'give one of them');
}

async function checkContainerRuntime({ containerRuntime }: ClusterOptions): Promise<void> {
  if (containerRuntime !== 'crun' && containerRuntime !== 'runc') return;
  const { findProgram } = await import('../../linux/find-program.ts');
  if (findProgram(containerRuntime) !== undefined) return;
  throw failed(
    `--container-runtime ${containerRuntime}: it is not installed`,
    `apt-get install ${containerRuntime}, or leave it out`,
  );
}

/** Names outside the cluster are those of the host, unless other name servers were chosen. */
async function prepareEgress(options: ClusterOptions): Promise<void> {
  const { WAY_OUT_NAME_SERVER, whyNoWayOut } = await import('../../cluster/ways-out/way-out.ts');
  const why = whyNoWayOut();
  if (why !== undefined) throw failed(`--egress: ${why}`, 'or leave --egress out');
  if (options.dnsUpstreams.length === 0) options.dnsUpstreams = [WAY_OUT_NAME_SERVER];
}

function readPublishedPort(text: string): PublishedPort {
  const port = parsePublishedPort(text);
  if (port !== undefined) return port;
  throw usageError(`--publish ${text}: expected [HOST:]PORT:svc/NAME[:PORT]`, 'such as 8080:svc/web:80');
}

/** The controller listens later; what can be known to fail then is refused before anything is changed. */
async function checkPortIsFree({ host, port }: PublishedPort): Promise<void> {
  const server = createServer();
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once('error', resolve);
    server.listen({ host, port }, () => server.close(() => resolve(undefined)));
  });
  if (failure === undefined) return;
  const why = failure.code === 'EADDRINUSE' ? 'the port is in use' : failure.message;
  throw failed(`--publish ${host}:${port}: ${why}`, 'choose another');
}

/** The raw socket needs an optional package with a native part. */
async function checkRawSocket(overlay: string): Promise<void> {
  const { RAW_SOCKET_HINT, whyNoRawSocket } = await import('../../linux/raw-socket.ts');
  const why = whyNoRawSocket();
  if (why === undefined) return;
  throw failed(
    `--overlay ${overlay} needs the npm package raw-socket: ${why}`,
    `${RAW_SOCKET_HINT}, or use --ipip-transport dp0`,
  );
}

/** The requested level; undefined for everything that the kernel supports. */
function offloadsOf(args: Args): OffloadName | undefined {
  const level = args.value('offloads', oneOf('none', 'checksum', 'tcp', 'udp', 'tunnel')) ?? 'tunnel';
  const offloads = args.flag('no-tunnel-offload') && level === 'tunnel' ? 'udp' : level;
  return offloads === 'tunnel' ? undefined : offloads;
}

/** The absolute path of a readable file. */
function findCatalogue(path: string): string {
  try {
    accessSync(path, constants.R_OK);
    return resolve(path);
  } catch {
    throw failed(`--catalogue ${path}: the file cannot be read`, 'check the path');
  }
}

function summary(nodes: readonly ClusterNode[], objects: number, published: readonly PublishedPort[]): string {
  const names = nodes.map(({ name, ip }) => `${name} (${ip})`).join(', ');
  const lines = [`The cluster is up: ${nodes.length === 1 ? 'node' : 'nodes'} ${names}.`];
  if (objects > 0) lines.push(`${objects} ${objects === 1 ? 'object' : 'objects'} applied, all Ready.`);
  for (const { host, port, service, namespace } of published) {
    const there = namespace === 'default' ? service : `${service}.${namespace}`;
    lines.push(`${host.includes(':') ? `[${host}]` : host}:${port} of this host leads to svc/${there}.`);
  }
  lines.push('', 'Try next:');
  const example = objects > 0 ? 'dataplane get pods -o wide' : 'dataplane apply -f demo/';
  for (const [command, does] of [
    [example, objects > 0 ? 'the pods and their nodes' : 'the mc3 demo'],
    ['dataplane status', 'nodes, workers, tables'],
    ['export KUBECONFIG=$(dataplane kubeconfig --path)', 'for kubectl and other clients'],
    ['dataplane conntrack', 'the tracked connections'],
    [`ip netns exec dp-outside ping ${nodes[0]!.ip}`, 'as a host outside the cluster'],
    ['dataplane down', 'remove everything'],
  ] as const) {
    lines.push(`  ${command.padEnd(52)} ${does}`);
  }
  return lines.join('\n');
}

/** `--foreground`: waits for a signal, or until the controller has ended and is not restarted. */
async function stay(cluster: Cluster, signal: AbortSignal): Promise<void> {
  const { readClusterFile } = await import('../../cluster/state.ts');
  const { isAlive } = await import('../../linux/processes.ts');
  const { describeTearDown } = await import('../output/tear-down.ts');
  note('Ctrl-C removes everything.');
  while (!signal.aborted) {
    if (!isAlive(readClusterFile()?.supervisor)) {
      await cluster.tearDown();
      throw failed(`the controller (pid ${cluster.file.controller?.pid}) is gone`, 'everything was removed');
    }
    await sleep(300, undefined, { signal }).catch(() => {});
  }
  print(describeTearDown(await cluster.tearDown()) ?? 'nothing was left');
}
