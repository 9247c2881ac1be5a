/**
 * Services of a real cluster, for end-to-end tests: objects through the API, and real clients (curl, nc) in the
 * namespaces of pods, nodes and the outside.
 */
import { join } from 'node:path';
import { ApiClient } from '../../../src/api/client/client.ts';
import { type ClusterOptions, clusterOptionsOf } from '../../../src/api/cluster-options.ts';
import {
  CONFIG_MAP,
  type ConfigMap,
  type EndpointSlice,
  type Kind,
  type KubeObject,
  type Pod,
  type Service,
  type ServicePort,
  type ServiceSpec,
} from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { type Cluster, eventually, podNetns, processPod, ROOT } from '../cluster.ts';

export const OUTSIDE = 'dp-outside';
export const NODE_IPS: Readonly<Record<string, string>> = { n1: '172.18.0.11', n2: '172.18.0.12' };
export const ECHO = [process.execPath, join(ROOT, 'dist/test/lib/services/echo-server.js')];

export interface EchoOptions {
  /** Arguments of echo-server.ts; default `tcp:80 udp:80`. */
  serve?: readonly string[];
  labels?: Record<string, string>;
  /** Named container ports. */
  ports?: readonly object[];
  graceSeconds?: number;
  /** Ready if /healthz on port 80 succeeds; else ready as soon as it runs. */
  probe?: boolean;
}

/** A pod with the echo server, labelled `app=<app>`. */
export function echoPod(name: string, node: string, app: string, options: EchoOptions = {}) {
  const { serve = ['tcp:80', 'udp:80'], labels = {}, ports, graceSeconds = 1, probe = true } = options;
  const http = { httpGet: { path: '/healthz', port: 80 }, periodSeconds: 1, failureThreshold: 1 };
  const pod = processPod(name, node, [...ECHO, ...serve], {
    ...(probe && serve.includes('tcp:80') && { readinessProbe: http }),
    ...(ports && { ports }),
  });
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { app, ...labels } },
    spec: { ...pod.spec, terminationGracePeriodSeconds: graceSeconds },
  };
}

/** A pod that only sleeps: a namespace in which to start clients. */
export const idlePod = (name: string, node: string) => processPod(name, node, ['sleep', 'infinity']);

export type NewPort = Partial<ServicePort> & { port: number };

export const UDP = [{ port: 80, protocol: 'UDP' }] as const satisfies readonly NewPort[];

/** A Service that selects `app=<app>`; `app` undefined: without a selector. */
export function serviceObject(
  name: string,
  app: string | undefined,
  spec: Omit<Partial<ServiceSpec>, 'ports'> & { ports?: readonly NewPort[] } = {},
  metadata: { labels?: Record<string, string>; annotations?: Record<string, string> } = {},
) {
  return {
    apiVersion: 'v1' as const,
    kind: 'Service' as const,
    metadata: { name, namespace: 'default', ...metadata },
    spec: { ...(app !== undefined && { selector: { app } }), ports: [{ port: 80 }], ...spec },
  };
}

/** A hand-written slice of a service. */
export function sliceObject(
  serviceName: string,
  endpoints: readonly { ip: string; node?: string; hints?: object; conditions?: object }[],
  port: { name?: string; port: number; protocol?: string },
) {
  return {
    apiVersion: 'discovery.k8s.io/v1' as const,
    kind: 'EndpointSlice' as const,
    metadata: {
      name: `${serviceName}-by-hand`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': serviceName },
    },
    addressType: 'IPv4' as const,
    endpoints: endpoints.map(({ ip, node, hints, conditions = { ready: true } }) => ({
      addresses: [ip],
      conditions,
      ...(node && { nodeName: node }),
      ...(hints && { hints }),
    })),
    ports: [{ protocol: 'TCP', ...port }],
  };
}

/** Starts the echo server in any namespace until the end of the test. @param args of echo-server.ts: the first is a port */
export async function startEcho(cluster: Cluster, netns: string, ...args: readonly string[]): Promise<void> {
  cluster.start(netns, [...ECHO, ...args]);
  const [protocol = '', port = ''] = args[0]!.split(':');
  await eventually(async () => {
    const { stdout } = await cluster.exec(netns, ['ss', '-Hln', protocol === 'tcp' ? '-t' : '-u', `sport = :${port}`]);
    return stdout.includes(`:${port}`) || undefined;
  });
}

/** A response of a health-check port. */
export interface Health {
  readonly status: number;
  readonly weight: string;
  readonly body: {
    readonly service: { readonly namespace: string; readonly name: string };
    readonly localEndpoints: number;
    readonly serviceProxyHealthy: boolean;
  };
}

export class Services {
  readonly cluster: Cluster;
  readonly api = new ApiClient(API_SOCKET);
  private readonly made: { kind: Kind; name: string }[] = [];

  constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /** Creates objects; `cleanUp` deletes them. */
  async create<T extends KubeObject>(object: object): Promise<T> {
    const made = await this.api.create(object as T);
    this.made.push({ kind: made.kind as Kind, name: made.metadata.name });
    return made;
  }

  /** A Service that all nodes have applied with this many ready endpoints. */
  async serve(object: ReturnType<typeof serviceObject>, endpoints?: number): Promise<Service> {
    const service = await this.create<Service>(object);
    if (endpoints !== undefined) await this.readyEndpoints(service.metadata.name, endpoints);
    return service;
  }

  /** The same for `app=<app>` with only UDP port 80. */
  serveUdp(name: string, app: string, endpoints: number): Promise<Service> {
    return this.serve(serviceObject(name, app, { ports: UDP }), endpoints);
  }

  /** Changes options of the running cluster. */
  async configure(options: Partial<ClusterOptions>): Promise<void> {
    const { name, namespace, key } = CONFIG_MAP;
    const { data } = await this.api.get('ConfigMap', name, namespace);
    const text = JSON.stringify({ ...clusterOptionsOf({ data } as ConfigMap), ...options });
    await this.api.patch('ConfigMap', name, { data: { [key]: text } }, { namespace });
  }

  /** Waits until the slices of a service have exactly this many ready endpoints; returns their addresses. */
  readyEndpoints(name: string, count: number): Promise<string[]> {
    return eventually(async () => {
      const ready = (await this.slices(name))
        .flatMap(({ endpoints }) => endpoints)
        .filter(({ conditions }) => conditions?.ready ?? true)
        .flatMap(({ addresses }) => addresses);
      return ready.length === count ? ready : undefined;
    }, 20_000);
  }

  async slices(name: string): Promise<EndpointSlice[]> {
    const labelSelector = `kubernetes.io/service-name=${name}`;
    return (await this.api.list('EndpointSlice', { namespace: 'default', labelSelector })).items;
  }

  patch(name: string, spec: object, metadata: object = {}): Promise<Service> {
    return this.api.patch('Service', name, { spec, metadata }, { namespace: 'default' });
  }

  async remove(kind: Kind, name: string, gracePeriodSeconds?: number): Promise<void> {
    await this.api.delete(kind, name, {
      namespace: 'default',
      ...(gracePeriodSeconds !== undefined && { gracePeriodSeconds }),
    });
  }

  /** Waits until the object no longer exists. */
  async gone(kind: Kind, name: string): Promise<void> {
    await eventually(async () => ((await this.api.find(kind, name, 'default')) === undefined ? true : undefined));
  }

  async pod(name: string): Promise<Pod> {
    return eventually(async () => {
      const pod = await this.api.get('Pod', name, 'default');
      return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')
        ? pod
        : undefined;
    }, 20_000);
  }

  async podIp(name: string): Promise<string> {
    return (await this.pod(name)).status?.podIP as string;
  }

  /** Deletes what `create` created since the last call. */
  async cleanUp(): Promise<void> {
    const made = this.made.splice(0).reverse();
    for (const { kind, name } of made) {
      const grace = kind === 'Pod' ? 0 : undefined;
      await this.remove(kind, name, grace).catch(() => undefined);
    }
    for (const { kind, name } of made) await this.gone(kind, name);
  }

  /**
   * Sends this many requests by curl, each over its own connection: the replies, or curl's error as the only entry. An
   * error begins with `!` and curl's status: 7 refused, 28 timeout.
   */
  async ask(netns: string, place: string, count = 1, ...args: string[]): Promise<string[]> {
    const url = `http://${place}/?${count > 1 ? `[1-${count}]` : '1'}`;
    const curl = ['curl', '-sS', '--max-time', '3', '-H', 'Connection: close', ...args, url];
    const { status, stdout } = await this.cluster.exec(netns, curl);
    const answers = stdout.trim().split('\n').filter(Boolean);
    return status === 0 ? answers : [...answers, `!${status}`];
  }

  /** Names of the servers that replied, sorted, without duplicates. */
  async names(netns: string, place: string, count = 12): Promise<string[]> {
    return unique((await this.ask(netns, place, count)).map(nameOf));
  }

  /** One datagram by nc: its reply, or `!refused` or `!silence`. */
  async datagram(netns: string, place: string, sourcePort?: number, text = 'hello'): Promise<string> {
    const [ip = '', port = ''] = place.split(':');
    const from = sourcePort === undefined ? [] : ['-p', `${sourcePort}`];
    const before = performance.now();
    const nc = ['nc', '-u', '-w', '2', '-W', '1', ...from, ip, port];
    const { stdout } = await this.cluster.exec(netns, nc, { input: text });
    if (stdout !== '') return stdout.trim();
    // An ICMP error ends it at once, no reply after its two seconds.
    return performance.now() - before < 1500 ? '!refused' : '!silence';
  }

  /** Retries until exactly these servers reply. */
  async eventuallyNames(netns: string, place: string, wanted: readonly string[], timeoutMs = 5000): Promise<void> {
    let last: string[] = [];
    await eventually(async () => {
      last = await this.names(netns, place);
      return last.join() === [...wanted].sort().join() ? true : undefined;
    }, timeoutMs).catch(() => {
      throw new Error(`${place} from ${netns}: expected ${wanted.join()}, got ${last.join()}`);
    });
  }

  /** Sends datagrams until one of these servers replies; returns which. */
  eventuallyDatagram(netns: string, place: string, wanted: readonly string[]): Promise<string> {
    let last = '';
    return eventually(async () => {
      last = nameOf(await this.datagram(netns, place));
      return wanted.includes(last) ? last : undefined;
    }).catch(() => {
      throw new Error(`${place} from ${netns}: expected an answer of ${wanted.join()}, got ${last}`);
    });
  }

  /** Retries until there is no reply. */
  async eventuallySilent(netns: string, place: string): Promise<void> {
    await eventually(async () => {
      const [answer] = await this.ask(netns, place, 1, '--max-time', '0.3');
      return answer === SILENCE ? true : undefined;
    });
  }

  /** Response of a health-check port. */
  async health(netns: string, place: string): Promise<Health> {
    const { stdout } = await this.cluster.exec(netns, ['curl', '-sS', '-i', '--max-time', '2', `http://${place}/`]);
    const [head = '', body = '{}'] = stdout.split('\r\n\r\n');
    return {
      status: Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]),
      weight: /^x-load-balancing-endpoint-weight: (.*)$/im.exec(head)?.[1] ?? '',
      body: JSON.parse(body || '{}'),
    };
  }

  /** Retries until refused; returns how long the refusal took, in milliseconds. @throws Error with the last result */
  async eventuallyRefused(netns: string, place: string, timeoutMs = 5000): Promise<number> {
    let last = '';
    return eventually(async () => {
      const before = performance.now();
      last = (await this.ask(netns, place)).join();
      return last === REFUSED ? performance.now() - before : undefined;
    }, timeoutMs).catch(() => {
      throw new Error(`${place} from ${netns}: expected a refusal, got ${last}`);
    });
  }
}

export const vip = ({ spec }: Service): string => spec.clusterIP as string;
export const nodePort = ({ spec }: Service): number => spec.ports?.[0]?.nodePort as number;
export const balancerIp = ({ status }: Service): string => status?.loadBalancer?.ingress?.[0]?.ip as string;

/** The results of `ask` for a refused connection, and for no reply. */
export const REFUSED = '!7';
export const SILENCE = '!28';

export const nameOf = (answer: string): string => answer.split(' ')[0] as string;
/** Address of the client as the server saw it. */
export const clientOf = (answer: string | undefined): string => answer?.split(' ')[1]?.split(':')[0] ?? `${answer}`;
export const unique = (texts: readonly string[]): string[] => [...new Set(texts)].sort();
export { podNetns };
