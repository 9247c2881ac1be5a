/**
 * This project: the cluster that `dataplane up` creates, used only through its command line, with the same pods and
 * services as the other networks. The names of its namespaces are fixed (`dp-…`), so it refuses to run beside an
 * existing cluster.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { repositoryRoot } from '../../lib/result-directory.ts';
import { stateDirectory } from '../lib/netns.ts';
import { finish, onCleanUp, run } from '../lib/processes.ts';
import { missing } from '../lib/tools.ts';
import { type Contender, FAR_IP, NEAR_IP, NodePort, Port, planServices, type TestNetwork } from './contender.ts';

const UP_SECONDS = 60;

/** Path of the built command; DATAPLANE in the environment overrides it, to measure another build. */
function commandLine(): string {
  return process.env.DATAPLANE ?? `${repositoryRoot()}/dist/bundle/cli/main.js`;
}

export interface Status {
  nodes: { name: string; ip: string; agentPid: number }[];
}

/** Runs `dataplane …` and returns its output. @throws {CommandError} with its error message */
export function cli(...words: string[]): string {
  return run([process.execPath, commandLine(), ...words], undefined, UP_SECONDS * 1000);
}

/** The reason why dataplane cannot be measured: it is not built, a driver is missing, or a cluster is already up. */
export function dataplaneUnavailable(): string | undefined {
  if (!existsSync(commandLine())) return `not built: ${commandLine()} is not there (npm run build)`;
  if (existsSync('/run/netns/dp-outside')) return 'a cluster is up: end it with `dataplane down` first';
  return missing(['ip']);
}

/** Brings up `nodes` nodes with the objects in `manifests`, and removes them on any exit. */
export async function bringUp(
  name: string,
  manifests: unknown[],
  nodes = 2,
  options: readonly string[] = [],
): Promise<Status> {
  const file = `${stateDirectory('dataplane')}/${name}.json`;
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }));
  takeAway ??= onCleanUp('dataplane', () => cli('down'));
  const words = [commandLine(), 'up', '--nodes', String(nodes), '-f', file, ...options];
  const up = await finish([process.execPath, ...words, ...extraOptions()], UP_SECONDS * 1000);
  if (up.status !== 0) throw new Error(`dataplane up: ${(up.stderr || up.stdout).trim().slice(-600)}`);
  return JSON.parse(cli('status', '-o', 'json')) as Status;
}

let takeAway: (() => void) | undefined;

/** `dataplane down`, once. */
export async function takeDown(): Promise<void> {
  takeAway?.();
  takeAway = undefined;
}

/** Options for `dataplane up` from DATAPLANE_UP_OPTIONS, to compare settings (for example `--workers 2`). */
function extraOptions(): string[] {
  return (process.env.DATAPLANE_UP_OPTIONS ?? '').split(' ').filter(Boolean);
}

/** A pod that only holds a namespace, in which the benchmark starts its programs. */
export function idlePod(name: string, nodeName: string): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: { nodeName, containers: [{ name: 'idle', image: 'process', command: ['sleep', '1000000'] }] },
  };
}

export function podNetns(name: string): string {
  return `dp-pod-default-${name}`;
}

/** @param variant a name of its own, and options for `dataplane up` */
export function dataplane(variant: { name: string; options: readonly string[] } | undefined = undefined): Contender {
  return {
    name: variant?.name ?? 'dataplane',
    title: variant?.name ?? 'dataplane',
    about: variant
      ? `this project: \`dataplane up ${variant.options.join(' ')}\``
      : 'this project: the same pods and services in a two-node cluster of `dataplane up`',
    unavailable: dataplaneUnavailable,
    async up(): Promise<TestNetwork> {
      const pods = [idlePod('a', 'n1'), idlePod('b', 'n1'), idlePod('c', 'n2')];
      const services = [planned('near', NEAR_IP, 'b'), planned('far', FAR_IP, 'c')];
      const status = await bringUp('whole-network', [...pods, ...services], 2, variant?.options);
      const [a, b, c] = [podNetns('a'), podNetns('b'), podNetns('c')];
      const node = status.nodes[0]!.ip;
      return {
        sameNode: { clientNetns: a, serverNetns: b, address: NEAR_IP, httpPort: Port.HTTP },
        acrossNodes: { clientNetns: a, serverNetns: c, address: FAR_IP, httpPort: Port.HTTP },
        nodePortNear: { clientNetns: 'dp-outside', serverNetns: b, address: node, httpPort: NodePort.NEAR },
        nodePortFar: { clientNetns: 'dp-outside', serverNetns: c, address: node, httpPort: NodePort.FAR },
        forwarders: status.nodes.map(({ agentPid }) => agentPid),
        notes: extraOptions().length > 0 ? [`up ${extraOptions().join(' ')}`] : [],
      };
    },
    down: takeDown,
  };
}

/** The plan's service `name` as a manifest, selecting the pod `app`. */
function planned(name: string, clusterIP: string, app: string): unknown {
  const ports = planServices()
    .filter((entry) => entry.name.startsWith(`default/${name}:`))
    .map((entry) => ({
      name: entry.name.split(':')[1],
      protocol: entry.protocol.toUpperCase(),
      port: entry.port,
      targetPort: entry.port,
      ...(entry.nodePort ? { nodePort: entry.nodePort } : {}),
    }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default' },
    spec: { type: 'NodePort', clusterIP, selector: { app }, ports },
  };
}
