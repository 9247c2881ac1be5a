/**
 * A cluster without processes: manifests in; nodes with the tables that agents would write, and packets that go through
 * the same pipeline as on a real node. Runs in a browser. Pods get their addresses at once and are ready; nobody listens
 * in them, so a reply is the typical one of a receiver.
 */
import { SERVICE_PROTOCOLS } from '../../../native-free-dataplane/protocols.ts';
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import type { NodeIdentity } from '../../agent/node-sync.ts';
import { DEFAULT_CLUSTER_OPTIONS } from '../../api/cluster-options.ts';
import { namespaceLabels } from '../../api/namespace-labels.ts';
import type { NetworkPolicy } from '../../api/types/network-policy.ts';
import type { KubeObject, NodeObject, Pod, Service } from '../../api/types/objects.ts';
import { compileService } from '../../compile/compile-service.ts';
import type { PolicyInput } from '../../compile/policies/compile-policies.ts';
import { parsePolicy } from '../../compile/policies/parse-policy.ts';
import { addressedPod, policyNode } from '../../compile/policies/policy-objects.ts';
import { gatewayOf, macOf } from '../../net/pod-network.ts';
import { Names } from '../../observe/trace/names.ts';
import type { NodeCopy } from '../../observe/trace/node-copy.ts';
import { Resolver } from '../../observe/trace/resolver.ts';
import { Walker } from '../../observe/trace/walk.ts';
import type { Topology, WalkRequest, WalkView } from '../protocol.ts';
import { slicesOf } from '../service-slices.ts';
import { topologyOf } from '../topology.ts';
import { readWalkRequest } from '../walk-request.ts';
import { walkView } from '../walk-view.ts';
import { buildNode } from './node.ts';

/** As `dataplane up` names and numbers them. */
const NODES = ['n1', 'n2'] as const;
/** The machine outside the cluster. */
const OUTSIDE_IP = '172.18.0.1';
const FIRST_NODE_PORT = 30_100;

const { podCidr, serviceCidr, overlay, vxlanPort, vni, portPolicy, nodePortRange, masqueradePorts } =
  DEFAULT_CLUSTER_OPTIONS;

/** With the defaults of `dataplane up`. */
const identityOf = (number: number): NodeIdentity => ({
  nodeIP: `172.18.0.${10 + number}`,
  podCIDR: `10.244.${number}.0/24`,
  clusterCIDR: podCidr,
  serviceCIDR: serviceCidr,
  overlay,
  vxlanPort,
  vni,
  podMtu: 1450,
  underlayMtu: 1500,
  portPolicy,
  localPolicyDrops: false,
  nodePortRange,
  masqueradePorts,
});

export class PlaygroundCluster {
  topology: Topology = { nodes: [], pods: [], services: [], policies: [] };
  private readonly process: typeof processTraced;
  private copies: NodeCopy[] = [];
  private names = new Names();
  private nowMs = 1000;
  /** Addresses stay with their names when manifests change. */
  private readonly podIPs = new Map<string, string>();
  private readonly clusterIPs = new Map<string, string>();
  private readonly nodePorts = new Map<string, number>();

  /** @param process the traced build of the pipeline */
  constructor(process: typeof processTraced) {
    this.process = process;
  }

  /** Replaces everything, connections included. @throws RangeError for what cannot be put in force */
  apply(objects: readonly KubeObject[]): void {
    const nodes = NODES.map(nodeObject);
    const pods = (objects.filter(({ kind }) => kind === 'Pod') as Pod[]).map((pod, i) => this.placed(pod, i));
    const services = (objects.filter(({ kind }) => kind === 'Service') as Service[]).map((service) =>
      this.assigned(service),
    );
    const served = services.map((service) => ({ service, slices: slicesOf(service, pods) }));
    const inForce = policiesOf(objects, pods, nodes);
    this.copies = NODES.map((name, i) =>
      buildNode(
        {
          name,
          identity: identityOf(i + 1),
          pods: pods.filter(({ spec }) => spec.nodeName === name).map(localPod),
          peers: NODES.flatMap((other, number) => (other === name ? [] : [remoteNode(other, number + 1)])),
          services: served.map(({ service, slices }) => compileService(service, slices, { nodeName: name })),
          policies: inForce,
        },
        this.nowMs,
      ),
    );
    this.names = new Names({ pods, services, nodes });
    const slices = served.flatMap((one) => one.slices);
    const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy');
    this.topology = topologyOf({ nodes, pods, services, slices, policies });
  }

  /** Sends a packet. The connections that it begins or ends stay so. @throws Error for a packet that makes no sense */
  send(request: WalkRequest): WalkView {
    this.nowMs += 100;
    const { from, frame } = new Resolver(this.copies, this.names, () => OUTSIDE_IP).packet(readWalkRequest(request));
    return walkView(
      new Walker(this.copies, this.names, this.process, this.nowMs, { withFrames: true }).walk(frame, from),
    );
  }

  /** Time passes: idle connections expire. */
  advance(milliseconds: number): void {
    this.nowMs += milliseconds;
  }

  private placed(pod: Pod, index: number): Pod {
    const { namespace = 'default', name } = pod.metadata;
    const wanted = pod.spec.nodeName ?? NODES[index % NODES.length]!;
    const number = (NODES as readonly string[]).indexOf(wanted) + 1;
    if (number === 0) throw new RangeError(`Pod ${name}: spec.nodeName ${wanted}: expected ${NODES.join(' or ')}`);
    const key = `${number} ${namespace}/${name}`;
    const podIP = this.podIPs.get(key) ?? freeAddress(`10.244.${number}.`, this.podIPs);
    this.podIPs.set(key, podIP);
    return {
      ...pod,
      metadata: { ...pod.metadata, namespace, uid: key },
      spec: { ...pod.spec, nodeName: wanted },
      status: { ...pod.status, podIP, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
    } as Pod;
  }

  private assigned(service: Service): Service {
    const { namespace = 'default', name } = service.metadata;
    const key = `${namespace}/${name}`;
    const { spec } = service;
    const clusterIP = spec.clusterIP || (this.clusterIPs.get(key) ?? freeAddress('10.96.1.', this.clusterIPs));
    this.clusterIPs.set(key, clusterIP);
    const hasNodePorts = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
    const ports = (spec.ports ?? []).map((port) =>
      hasNodePorts && port.nodePort === undefined
        ? { ...port, nodePort: this.nodePortOf(`${key}:${port.port}`) }
        : port,
    );
    return { ...service, metadata: { ...service.metadata, namespace }, spec: { ...spec, clusterIP, ports } };
  }

  private nodePortOf(key: string): number {
    const known = this.nodePorts.get(key) ?? FIRST_NODE_PORT + this.nodePorts.size;
    this.nodePorts.set(key, known);
    return known;
  }
}

/** What nodes compile their policies from; undefined: there is no policy. */
function policiesOf(
  objects: readonly KubeObject[],
  pods: readonly Pod[],
  nodes: readonly NodeObject[],
): PolicyInput | undefined {
  const given = objects.filter(({ kind }) => kind === 'NetworkPolicy') as NetworkPolicy[];
  if (given.length === 0) return undefined;
  const namespaces = new Map<string, Readonly<Record<string, string>>>();
  for (const { metadata } of pods) namespaces.set(metadata.namespace!, namespaceLabels({ name: metadata.namespace! }));
  for (const { kind, metadata } of objects) {
    if (kind === 'Namespace') namespaces.set(metadata.name, namespaceLabels(metadata));
  }
  return {
    policies: given.map(parsePolicy),
    namespaces,
    pods: pods.flatMap((pod) => addressedPod(pod) ?? []),
    nodes: nodes.map(policyNode),
    dnsPort: undefined,
  };
}

const nodeObject = (name: string, index: number): NodeObject =>
  ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: identityOf(index + 1).podCIDR },
    status: {
      addresses: [{ type: 'InternalIP', address: identityOf(index + 1).nodeIP }],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  }) as NodeObject;

function remoteNode(name: string, number: number) {
  const { nodeIP, podCIDR } = identityOf(number);
  return { name, ip: nodeIP, podCIDRs: [podCIDR], vtepMac: macOf(gatewayOf(podCIDR)) };
}

function localPod({ metadata, spec, status }: Pod) {
  const declared = spec.containers.flatMap(({ ports = [] }) => ports);
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    ip: status!.podIP!,
    declared: declared
      .filter(({ protocol = 'TCP' }) => SERVICE_PROTOCOLS[protocol] !== undefined)
      .map(({ protocol = 'TCP', containerPort }) => ({ protocol, port: containerPort })),
  };
}

/** The gateway has the first address. */
function freeAddress(prefix: string, used: ReadonlyMap<string, string>): string {
  const taken = new Set(used.values());
  for (let last = prefix.startsWith('10.244') ? 2 : 0; last < 255; last++) {
    if (!taken.has(`${prefix}${last}`)) return `${prefix}${last}`;
  }
  throw new RangeError(`no address is left in ${prefix}0/24`);
}
