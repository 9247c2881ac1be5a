/** What the page's tests have in common: a topology, flows, a server, and requests with chosen headers. */
import { request } from 'node:http';
import type { Flow } from '../../src/observe/hubble/flow.ts';
import type { PodView, ServiceView, Topology } from '../../src/ui/protocol.ts';

const pod = (name: string, node: string, ip: string, more: Partial<PodView> = {}): PodView => ({
  id: `pod:default/${name}`,
  namespace: 'default',
  name,
  node,
  ip,
  phase: 'Running',
  ready: true,
  labels: { app: name },
  ports: [],
  ...more,
});

const service = (name: string, ip: string, port: number, more: Partial<ServiceView> = {}): ServiceView => ({
  id: `svc:default/${name}`,
  namespace: 'default',
  name,
  type: 'ClusterIP',
  ip,
  ports: [{ name: '', port, protocol: 'TCP', target: '8080', nodePort: 0 }],
  endpoints: [],
  ready: 0,
  ...more,
});

/** Pods client on n2 and web on n1, Service web with NodePort 30080. */
export const TWO_NODES: Topology = {
  nodes: [
    { name: 'n1', ip: '172.18.0.11', podCIDR: '10.244.1.0/24', ready: true },
    { name: 'n2', ip: '172.18.0.12', podCIDR: '10.244.2.0/24', ready: true },
  ],
  pods: [pod('client', 'n2', '10.244.2.2'), pod('web', 'n1', '10.244.1.2', { ports: ['8080/TCP'] })],
  services: [
    service('web', '10.96.1.0', 80, {
      type: 'NodePort',
      ports: [{ name: '', port: 80, protocol: 'TCP', target: '8080', nodePort: 30080 }],
      endpoints: ['pod:default/web'],
      ready: 1,
    }),
    service('none', '10.96.1.1', 80),
  ],
  policies: [],
};

/** The first packet of client to web, as its node reports it. */
export function flow(more: Partial<Flow> = {}): Flow {
  return {
    time: '2026-11-28T12:00:00.000Z',
    uuid: 'u',
    emitter: { name: 'dataplane', version: '0' },
    verdict: 'FORWARDED',
    IP: { source: '10.244.2.2', destination: '10.244.1.2', ipVersion: 'IPv4' },
    l4: { TCP: { source_port: 40000, destination_port: 8080, flags: { SYN: true } } },
    source: { identity: 300, namespace: 'default', labels: [], pod_name: 'client' },
    destination: { identity: 301, namespace: 'default', labels: [], pod_name: 'web' },
    Type: 'L3_L4',
    node_name: 'n2',
    event_type: { type: 4, sub_type: 4 },
    destination_service: { name: 'web', namespace: 'default' },
    traffic_direction: 'EGRESS',
    is_reply: false,
    Summary: 'TCP Flags: SYN',
    ...more,
  };
}

export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** A request with exactly this path, which `fetch` would clean up, and these headers. */
export function ask(port: number, path: string, { method = 'GET', headers = {}, body }: Asked = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers: { ...headers } }, (response) => {
      const chunks: Uint8Array[] = [];
      response.on('data', (chunk: Uint8Array) => chunks.push(chunk));
      response.on('end', () => {
        const { statusCode = 0, headers: got } = response;
        resolve({ status: statusCode, headers: got, body: Buffer.concat(chunks).toString('utf8') });
      });
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Pods on four nodes behind a Service for every ten, and a flow of each pod to two other Services. */
export function manyPods(count: number): { topology: Topology; flows: Flow[] } {
  const nodes = [1, 2, 3, 4].map((n) => ({
    name: `n${n}`,
    ip: `172.18.0.${10 + n}`,
    podCIDR: `10.244.${n}.0/24`,
    ready: true,
  }));
  const pods = Array.from({ length: count }, (_, i) =>
    pod(`app-${Math.floor(i / 10)}-${i % 10}x`, `n${(i % 4) + 1}`, `10.244.${(i % 4) + 1}.${2 + Math.floor(i / 4)}`),
  );
  const services = Array.from({ length: Math.ceil(count / 10) }, (_, i) => {
    const endpoints = pods.slice(i * 10, i * 10 + 10).map(({ id }) => id);
    return service(`app-${i}`, `10.96.1.${i}`, 80, { endpoints, ready: endpoints.length });
  });
  const flows = pods.flatMap((from, i) =>
    [1, 7].map((step) => {
      const to = pods[(i + step * 10) % count]!;
      return flow({
        node_name: from.node,
        IP: { source: from.ip, destination: to.ip, ipVersion: 'IPv4' },
        source: { identity: 1000 + i, namespace: 'default', labels: [], pod_name: from.name },
        destination: { identity: 1000, namespace: 'default', labels: [], pod_name: to.name },
        destination_service: { name: to.name.replace(/-\d+x$/, ''), namespace: 'default' },
      });
    }),
  );
  return { topology: { nodes, pods, services, policies: [] }, flows };
}
