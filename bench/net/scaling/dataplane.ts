/**
 * Many services with dataplane: Services without selectors and their EndpointSlices, written through the API's socket.
 */
import { request } from 'node:http';
import { bringUp, dataplaneUnavailable, idlePod, podNetns, takeDown } from '../contenders/dataplane.ts';
import type { ServicePort } from '../kube-proxy/service-port.ts';
import { run, sleep } from '../lib/processes.ts';
import type { ScalingPlan } from './plan.ts';
import type { Scaled } from './scaled.ts';

const SOCKET = '/run/dataplane/api.sock';
/** Number of concurrent requests while thousands of objects are written. */
const PARALLEL = 32;
const SERVICES = '/api/v1/namespaces/default/services';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

export function scaledDataplane(): Scaled {
  return {
    name: 'dataplane',
    title: 'dataplane',
    about: 'this project, one node; Services without selectors and EndpointSlices through the API',
    unavailable: dataplaneUnavailable,
    async up() {
      await bringUp('service-scaling', [idlePod('a', 'n1'), idlePod('b', 'n1')], 1);
      const address = run(['ip', '-n', podNetns('b'), '-4', '-o', 'addr', 'show', 'dev', 'eth0']);
      const serverIp = /inet ([\d.]+)/.exec(address)?.[1];
      if (!serverIp) throw new Error('pod b has no address');
      return { client: podNetns('a'), server: podNetns('b'), serverIp };
    },
    async load(plan, limitMs) {
      const begin = performance.now();
      const objects = plan.services.flatMap((service) => [
        { path: SERVICES, object: serviceObject(service) },
        ...sliceObjects(service).map((object) => ({ path: SLICES, object })),
      ]);
      let next = 0;
      const writer = async () => {
        while (next < objects.length) {
          if (performance.now() - begin > limitMs) throw new Error(`not written within ${limitMs / 1000} s`);
          const { path, object } = objects[next++]!;
          await call('POST', path, object);
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, writer));
      await untilAnswering(plan, limitMs - (performance.now() - begin));
      return performance.now() - begin;
    },
    async apply(plan) {
      for (const slice of sliceObjects(plan.change)) {
        const { endpoints, ports } = slice;
        const path = `${SLICES}/${(slice.metadata as { name: string }).name}`;
        await call('PATCH', path, { endpoints, ports });
      }
    },
    down: takeDown,
  };
}

/** Waits until the last service is applied: a connection from the client's pod to its address succeeds. */
async function untilAnswering(plan: ScalingPlan, limitMs: number): Promise<void> {
  const end = performance.now() + limitMs;
  const probe = `exec 3<>/dev/tcp/${plan.last.clusterIp}/${plan.last.port}`;
  for (;;) {
    try {
      run(['ip', 'netns', 'exec', podNetns('a'), 'timeout', '1', 'bash', '-c', probe]);
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await sleep(20);
    }
  }
}

function labels(service: ServicePort): { name: string } {
  return { name: service.name.split('/')[1]!.split(':')[0]! };
}

function serviceObject(service: ServicePort): Record<string, unknown> {
  const port = { name: 'http', protocol: 'TCP', port: service.port };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: labels(service).name, namespace: 'default' },
    spec: { clusterIP: service.clusterIp, ports: [port] },
  };
}

/** One slice per port number of the endpoints, because a slice's ports apply to all of its endpoints. */
function sliceObjects(service: ServicePort): Record<string, unknown>[] {
  const { name } = labels(service);
  const byPort = new Map<number, string[]>();
  for (const { ip, port } of service.endpoints) byPort.set(port, [...(byPort.get(port) ?? []), ip]);
  return [...byPort].map(([port, addresses], at) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: 'IPv4',
    metadata: { name: `${name}-${at}`, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
    ports: [{ name: 'http', protocol: 'TCP', port }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  }));
}

function call(method: string, path: string, body: unknown): Promise<void> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  return new Promise((resolve, reject) => {
    const ask = request({ socketPath: SOCKET, path, method, headers: { 'content-type': type } }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      answer.on('end', () => {
        if ((answer.statusCode ?? 500) < 300) resolve();
        else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`));
      });
    });
    ask.on('error', reject);
    ask.end(JSON.stringify(body));
  });
}
