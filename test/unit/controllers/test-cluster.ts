/** A control plane on a temporary socket, and functions that make objects for it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { ClusterOptions } from '../../../src/api/cluster-options.ts';
import { ApiError } from '../../../src/api/errors.ts';
import { nowText } from '../../../src/api/store/store.ts';
import type {
  ConfigMap,
  EndpointSlice,
  KubeObject,
  Manifest,
  Pod,
  Service,
  ServiceSpec,
} from '../../../src/api/types/objects.ts';
import { type Controller, type ControllerOptions, startController } from '../../../src/controllers/controller.ts';

export interface TestCluster {
  client: ApiClient;
  directory: string;
  socketPath: string;
  /** Stops the controller and starts another on the same directory. */
  restart(options?: Partial<ClusterOptions>): Promise<void>;
  close(): Promise<void>;
}

async function testCluster(given: Partial<ControllerOptions> = {}): Promise<TestCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'dataplane-test-'));
  const socketPath = join(directory, 'api.sock');
  // Most tests count Services and addresses, so kube-dns exists only in tests that request it.
  const options = { dns: 'external' as const, ...given.options };
  const start = (changed: Partial<ClusterOptions> = {}) =>
    startController({ stateDir: directory, socketPath, ...given, options: { ...options, ...changed } });
  let controller: Controller = await start();
  const client = new ApiClient(socketPath);
  return {
    client,
    directory,
    socketPath,
    async restart(changed = {}) {
      await controller.close();
      controller = await start(changed);
    },
    async close() {
      client.close();
      await controller.close();
      rmSync(directory, { recursive: true });
    },
  };
}

/** Runs `body` with a cluster of its own, which is removed afterwards. */
export function withCluster(body: (cluster: TestCluster) => Promise<void>, given: Partial<ControllerOptions> = {}) {
  return async () => {
    const cluster = await testCluster(given);
    try {
      await body(cluster);
    } finally {
      await cluster.close();
    }
  };
}

/** Waits until `probe` returns a truthy value; after the timeout throws with what it returned or threw last. */
export async function eventually<T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 10_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value as T;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end)
      throw last instanceof Error ? last : new Error(`the condition was not met in time; last result: ${String(last)}`);
    await sleep(5);
  }
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The error that a refused call throws. */
export async function refusal(call: Promise<unknown>): Promise<ApiError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('expected the API to refuse the request, but it succeeded');
}

export function service(name: string, spec: ServiceSpec = {}, labels?: Record<string, string>): Manifest<Service> {
  const ports = spec.ports ?? [{ port: 80 }];
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, ...(labels && { labels }) }, spec: { ...spec, ports } };
}

export function pod(name: string, labels: Record<string, string> = {}, spec: Partial<Pod['spec']> = {}): Manifest<Pod> {
  const containers = [{ name: 'c', image: 'process', ports: [{ name: 'http', containerPort: 8080 }] }];
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec: { containers, ...spec } };
}

export async function addNode(client: ApiClient, name: string, labels: Record<string, string> = {}): Promise<void> {
  await client.create({ apiVersion: 'v1', kind: 'Node', metadata: { name, labels } } as Manifest<KubeObject>);
  await heartbeat(client, name);
}

export async function heartbeat(client: ApiClient, name: string, at = nowText()): Promise<void> {
  const condition = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: at };
  await client.patchStatus('Node', name, undefined, { conditions: [condition] });
}

/** Creates the pod, waits for its address and reports it as running, as its agent would. */
export async function runPod(client: ApiClient, manifest: Manifest<Pod>, ready = true): Promise<Pod> {
  await client.create(manifest);
  const { name = '', namespace = 'default' } = manifest.metadata;
  const placed = await eventually(async () => {
    const found = await client.get('Pod', name, namespace);
    return found.metadata.annotations?.['dataplane.dev/pod-ip'] !== undefined && found;
  });
  return setReady(client, placed, ready);
}

export function setReady(client: ApiClient, pod: Pod, ready: boolean): Promise<Pod> {
  const podIP = pod.metadata.annotations?.['dataplane.dev/pod-ip'];
  const conditions = [
    { type: 'PodScheduled', status: 'True' },
    { type: 'ContainersReady', status: ready ? 'True' : 'False' },
    { type: 'Ready', status: ready ? 'True' : 'False' },
  ];
  const status = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], conditions };
  return client.patchStatus('Pod', pod.metadata.name, pod.metadata.namespace, status);
}

/** The slices of a service as `ip:port ready/serving/terminating`, sorted. */
export async function endpointsOf(client: ApiClient, name: string, namespace = 'default'): Promise<string[]> {
  const slices = await slicesOf(client, name, namespace);
  const lines = slices.flatMap(({ endpoints, ports }) =>
    endpoints.map(({ addresses, conditions: c = {} }) => {
      const flags = [c.ready && 'ready', c.serving && 'serving', c.terminating && 'terminating'].filter(Boolean);
      return `${addresses[0]}:${(ports ?? []).map((p) => p.port).join('+')} ${flags.join('/') || 'unready'}`;
    }),
  );
  return lines.sort();
}

export async function slicesOf(client: ApiClient, name: string, namespace = 'default'): Promise<EndpointSlice[]> {
  const list = await client.list('EndpointSlice', { namespace, labelSelector: `kubernetes.io/service-name=${name}` });
  return list.items;
}

/** Waits until the service's endpoints are these. */
export async function expectEndpoints(client: ApiClient, name: string, wanted: string[]): Promise<void> {
  await eventually(async () => {
    const found = await endpointsOf(client, name);
    if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`endpoints are ${JSON.stringify(found)}`);
    return true;
  });
}

export function configMap(
  name: string,
  data: Record<string, string> = {},
  labels: Record<string, string> = {},
): Manifest<ConfigMap> {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, labels }, data };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
  bytes: Buffer;
}

/** A raw request to the API. @param body an object is sent as JSON, text and bytes as they are */
export function request(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  type = 'application/json',
  accept = '*/*',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    const headers = { 'content-type': type, accept, 'content-length': Buffer.byteLength(text ?? '') };
    const req = httpRequest({ socketPath, method, path, headers }, async (res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of res) chunks.push(chunk as Buffer);
      const bytes = Buffer.concat(chunks);
      resolve({ status: res.statusCode ?? 0, headers: res.headers, body: bytes.toString('utf8'), bytes });
    });
    req.on('error', reject);
    req.end(text);
  });
}

/** The parsed JSON of a GET. */
export async function getJson<T>(socketPath: string, path: string, accept?: string): Promise<T> {
  return JSON.parse((await request(socketPath, 'GET', path, undefined, undefined, accept)).body) as T;
}
