/**
 * The cluster of tests that watch traffic: pod `client` on n2 reaches pod `web` on n1 by the Service `web`; the Service
 * `none` has no endpoint.
 */
import { type Cluster, podNetns, processPod, startCluster } from './cluster.ts';
import { type NewPort, serviceObject } from './services/services.ts';

export const WEB = '10.96.4.1';
export const NONE = '10.96.4.2';
export const CLIENT = podNetns('client');

/** Where `web` serves. */
export const PORT: NewPort = { port: 80, targetPort: 8080 };

type ServiceSpec = NonNullable<Parameters<typeof serviceObject>[2]>;

export interface WebAndClientOptions {
  /** Further arguments for `dataplane up`. */
  readonly args?: readonly string[];
  readonly manifests?: readonly object[];
  /** In place of a ClusterIP Service with PORT. */
  readonly web?: ServiceSpec;
  readonly none?: ServiceSpec;
}

/** The command of a pod that serves HTTP. @param listener of Node's http.createServer, as source */
export const serving = (listener: string): string[] => [
  process.execPath,
  '-e',
  `require('http').createServer(${listener}).listen(8080)`,
];

/** @param listener as for `serving` */
export async function startWebAndClient(listener: string, options: WebAndClientOptions = {}): Promise<Cluster> {
  const { args = [], manifests = [], web = {}, none = {} } = options;
  const cluster = await startCluster({
    args: ['--nodes', '2', ...args],
    manifests: [
      processPod('web', 'n1', serving(listener)),
      processPod('client', 'n2', ['sleep', '1000']),
      serviceObject('web', 'web', { clusterIP: WEB, ports: [PORT], ...web }),
      serviceObject('none', 'nobody', { clusterIP: NONE, ports: [PORT], ...none }),
      ...manifests,
    ],
  });
  await cluster.fetch(CLIENT, `http://${WEB}/`, '--retry', '20', '--retry-connrefused');
  return cluster;
}
