/**
 * The objects of a large cluster, written into etcd as kube-apiserver stores them (k8s.io/apiserver pkg/storage/etcd3; it reads
 * JSON as well as protobuf). By way of the API, which allocates addresses one by one, the same
 * objects would take an hour.
 */

/** How large the cluster is. Every Service has `pods / services` endpoints. */
export interface ClusterSize {
  readonly nodes: number;
  readonly pods: number;
  readonly services: number;
}

export interface StoredObject {
  readonly key: string;
  readonly object: object;
}

export const POD_CIDR = '10.32.0.0/11';
export const SERVICE_CIDR = '10.96.0.0/12';
/** Nodes and the API server; the server has the first address. */
export const NODE_NETWORK = '10.128.0.0/16';
const CREATED = '2026-01-01T00:00:00Z';
const NAMESPACES = 100;
const POD_BASE = 10 * 2 ** 24 + 32 * 2 ** 16;
const SERVICE_BASE = 10 * 2 ** 24 + 96 * 2 ** 16;
const NODE_BASE = 10 * 2 ** 24 + 128 * 2 ** 16;

const address = (value: number): string => [24, 16, 8, 0].map((shift) => (value / 2 ** shift) & 0xff).join('.');
const uid = (kind: number, number: number): string =>
  `${kind.toString(16).padStart(8, '0')}-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;

export const nodeName = (node: number): string => `node-${node}`;
const nodeAddress = (node: number): string => address(NODE_BASE + 256 + node);
export const namespaceOf = (service: number): string => `team-${service % NAMESPACES}`;
export const serviceName = (service: number): string => `app-${service}`;
/** The pod's node: its Service's pods are on different ones. */
const nodeOf = (pod: number, { nodes }: ClusterSize): number => pod % nodes;
const podAddress = (pod: number, size: ClusterSize): string =>
  address(POD_BASE + nodeOf(pod, size) * 256 + 2 + Math.floor(pod / size.nodes));
const serviceOf = (pod: number, size: ClusterSize): number => pod % size.services;
const podName = (pod: number, size: ClusterSize): string => `${serviceName(serviceOf(pod, size))}-${pod}`;

const meta = (kind: number, number: number, name: string, more: object = {}): object => ({
  name,
  uid: uid(kind, number),
  creationTimestamp: CREATED,
  ...more,
});

function node(number: number): object {
  const ip = nodeAddress(number);
  const podCIDR = `${address(POD_BASE + number * 256)}/24`;
  const mac = `0a:58:${[0x0a, 32 + (number >> 8), number & 0xff].map((one) => one.toString(16).padStart(2, '0')).join(':')}:01`;
  const condition = (type: string, status: string) => ({
    type,
    status,
    lastHeartbeatTime: CREATED,
    lastTransitionTime: CREATED,
    reason: `Kubelet${type}`,
    message: `kubelet reports ${type}`,
  });
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: meta(1, number, nodeName(number), {
      labels: {
        'kubernetes.io/hostname': nodeName(number),
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        'topology.kubernetes.io/zone': `zone-${number % 3}`,
      },
      annotations: {
        'flannel.alpha.coreos.com/backend-type': 'vxlan',
        'flannel.alpha.coreos.com/backend-data': JSON.stringify({ VNI: 1, VtepMAC: mac }),
        'flannel.alpha.coreos.com/public-ip': ip,
        'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
      },
    }),
    spec: { podCIDR, podCIDRs: [podCIDR] },
    status: {
      addresses: [
        { type: 'InternalIP', address: ip },
        { type: 'Hostname', address: nodeName(number) },
      ],
      capacity: { cpu: '16', memory: '64Gi', pods: '110' },
      allocatable: { cpu: '16', memory: '64Gi', pods: '110' },
      conditions: [
        ...['MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => condition(type, 'False')),
        condition('Ready', 'True'),
      ],
      // As many as kubelet reports by default.
      images: Array.from({ length: 50 }, (_, image) => ({
        names: [`registry.example.com/team/application-${image}@sha256:${'0'.repeat(64)}`],
        sizeBytes: 10_000_000 + image,
      })),
      nodeInfo: { kubeletVersion: 'v1.34.4', osImage: 'Debian GNU/Linux 12', kernelVersion: '6.18.0' },
    },
  };
}

function pod(number: number, size: ClusterSize): object {
  const [service, on, ip] = [serviceOf(number, size), nodeOf(number, size), podAddress(number, size)];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(2, number, podName(number, size), {
      namespace: namespaceOf(service),
      labels: { app: serviceName(service), 'pod-template-hash': '6fb9549499' },
    }),
    spec: {
      nodeName: nodeName(on),
      containers: [
        {
          name: 'main',
          image: 'registry.example.com/team/application-1:1.2.3',
          ports: [{ containerPort: 8080 }],
          resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
          env: Array.from({ length: 8 }, (_, index) => ({ name: `SETTING_${index}`, value: `value ${index}` })),
        },
      ],
    },
    status: {
      phase: 'Running',
      podIP: ip,
      podIPs: [{ ip }],
      hostIP: nodeAddress(on),
      conditions: ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({
        type,
        status: 'True',
        lastTransitionTime: CREATED,
      })),
      containerStatuses: [
        {
          name: 'main',
          ready: true,
          restartCount: 0,
          image: 'registry.example.com/team/application-1:1.2.3',
          imageID: `registry.example.com/team/application-1@sha256:${'1'.repeat(64)}`,
          state: { running: { startedAt: CREATED } },
        },
      ],
    },
  };
}

function service(number: number): object {
  const clusterIP = address(SERVICE_BASE + 256 + number);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: meta(3, number, serviceName(number), {
      namespace: namespaceOf(number),
      labels: { app: serviceName(number) },
    }),
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: { app: serviceName(number) },
      ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
    },
    status: { loadBalancer: {} },
  };
}

/** @param unready the endpoint with this index is not ready */
export function slice(number: number, size: ClusterSize, unready = -1): object {
  const endpoints: object[] = [];
  for (let one = number; one < size.pods; one += size.services) {
    const ready = endpoints.length !== unready;
    endpoints.push({
      addresses: [podAddress(one, size)],
      conditions: { ready, serving: ready, terminating: false },
      nodeName: nodeName(nodeOf(one, size)),
      targetRef: { kind: 'Pod', namespace: namespaceOf(number), name: podName(one, size), uid: uid(2, one) },
      zone: `zone-${nodeOf(one, size) % 3}`,
    });
  }
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: meta(4, number, `${serviceName(number)}-1`, {
      namespace: namespaceOf(number),
      labels: {
        'kubernetes.io/service-name': serviceName(number),
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
      },
      ownerReferences: [
        { apiVersion: 'v1', kind: 'Service', name: serviceName(number), uid: uid(3, number), controller: true },
      ],
    }),
    addressType: 'IPv4',
    endpoints,
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

/** The API server keeps each allocated address as an object, and would make those that are missing. */
function allocation(number: number): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: meta(5, number, address(SERVICE_BASE + 256 + number), {
      labels: {
        'ipaddress.kubernetes.io/ip-family': 'IPv4',
        'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
      },
    }),
    spec: {
      parentRef: { group: '', resource: 'services', namespace: namespaceOf(number), name: serviceName(number) },
    },
  };
}

/** A Service as it is stored. */
export function storedService(number: number): StoredObject {
  return { key: `services/specs/${namespaceOf(number)}/${serviceName(number)}`, object: service(number) };
}

/** Everything. Allocations before the Services that have them: the API server would repair the others. */
export function* clusterObjects(size: ClusterSize): Generator<StoredObject> {
  for (let i = 0; i < NAMESPACES; i++) {
    const name = namespaceOf(i);
    const object = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: meta(6, i, name),
      spec: { finalizers: ['kubernetes'] },
    };
    yield { key: `namespaces/${name}`, object: { ...object, status: { phase: 'Active' } } };
  }
  for (let i = 0; i < size.nodes; i++) yield { key: `minions/${nodeName(i)}`, object: node(i) };
  for (let i = 0; i < size.services; i++) {
    yield { key: `ipaddresses/${address(SERVICE_BASE + 256 + i)}`, object: allocation(i) };
  }
  for (let i = 0; i < size.services; i++) {
    const [namespace, name] = [namespaceOf(i), serviceName(i)];
    yield storedService(i);
    yield { key: `endpointslices/${namespace}/${name}-1`, object: slice(i, size) };
  }
  for (let i = 0; i < size.pods; i++) {
    yield { key: `pods/${namespaceOf(serviceOf(i, size))}/${podName(i, size)}`, object: pod(i, size) };
  }
}
