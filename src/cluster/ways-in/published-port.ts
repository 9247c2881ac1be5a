/**
 * `up --publish [HOST:]PORT:svc/NAME:PORT`: a port of the host through which a Service is reached. The controller listens,
 * and connects from a node's network namespace to the Service's cluster IP, so that the data plane chooses the endpoint.
 */
import type { Socket } from 'node:net';
import { ApiClient } from '../../api/client/client.ts';
import { isReady } from '../../api/ready.ts';
import { servicePortNamed } from '../../api/service-ports.ts';
import type { NodeObject, Service } from '../../api/types/objects.ts';
import { connectInNamespace } from '../../linux/connect.ts';
import { networkNamespaceOf } from '../network-namespaces.ts';
import { listenAndRelay, type Relay } from './relay.ts';

export interface PublishedPort {
  readonly host: string;
  readonly port: number;
  readonly namespace: string;
  readonly service: string;
  /** Number or name; undefined: the Service's only port. */
  readonly servicePort: string | undefined;
}

const FORM =
  /^(?:(\[[0-9a-f:]+\]|[^:[\]]+):)?(\d{1,5}):(?:svc|service|services)\/([a-z0-9-]+)(?:\.([a-z0-9-]+))?(?::([a-z0-9-]+))?$/;

/** `8080:svc/web`, `127.0.0.1:8080:svc/web.shop:http`; undefined for text of another form. */
export function parsePublishedPort(text: string): PublishedPort | undefined {
  const [, host = '127.0.0.1', port, service, namespace = 'default', servicePort] = FORM.exec(text) ?? [];
  const number = Number(port);
  if (service === undefined || number < 1 || number > 65535) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), port: number, namespace, service, servicePort };
}

export interface PublishOptions {
  readonly ports: readonly PublishedPort[];
  /** The API: a unix socket or URL. */
  readonly target: string;
  readonly log: (line: string) => void;
}

/** Listens on every port that can be had; the others are logged. @returns closes all of them */
export async function publishPorts({ ports, target, log }: PublishOptions): Promise<() => void> {
  const client = new ApiClient(target);
  const relays: Relay[] = [];
  let reported = '';
  // A client that tries again and again must not fill the log.
  const report = (line: string) => {
    if (line !== reported) log(line);
    reported = line;
  };
  for (const port of ports) {
    const what = `published port ${port.host}:${port.port}`;
    try {
      relays.push(
        await listenAndRelay({
          host: port.host,
          port: port.port,
          dial: () => dialService(client, port),
          onError: (reason) => report(`${what}: svc/${port.service}.${port.namespace}: ${reason}`),
        }),
      );
    } catch (error) {
      log(`${what}: ${(error as Error).message}`);
    }
  }
  return () => {
    for (const relay of relays) relay.close();
    client.close();
  };
}

async function dialService(client: ApiClient, { namespace, service, servicePort }: PublishedPort): Promise<Socket> {
  const [{ spec }, nodes] = await Promise.all([
    client.get<'Service'>('Service', service, namespace),
    client.list<'Node'>('Node'),
  ]);
  const port = portOf(spec.ports ?? [], servicePort);
  if (port === undefined) throw new Error(`it has no port ${servicePort ?? 'to choose: name one of its ports'}`);
  if ((port.protocol ?? 'TCP') !== 'TCP') throw new Error(`its port ${port.port} is ${port.protocol}, not TCP`);
  if (!spec.clusterIP || spec.clusterIP === 'None') throw new Error('it has no cluster IP');
  for (const node of readyFirst(nodes.items)) {
    const path = networkNamespaceOf({ kind: 'node', name: node });
    if (path !== undefined) return connectInNamespace(path, spec.clusterIP, port.port);
  }
  throw new Error('no node of the cluster is on this machine');
}

function portOf(ports: NonNullable<Service['spec']['ports']>, wanted: string | undefined) {
  if (wanted === undefined) return ports.length === 1 ? ports[0] : undefined;
  return servicePortNamed(ports, wanted);
}

function readyFirst(nodes: readonly NodeObject[]): string[] {
  return [...nodes].sort((a, b) => Number(isReady(b)) - Number(isReady(a))).map(({ metadata }) => metadata.name);
}
