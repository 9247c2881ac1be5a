/**
 * The ends of a flow as the page draws them, and the packet to trace for it. A connection is seen on each node that it
 * passes; it counts where it begins.
 */

import { gatewayOf } from '../net/pod-network.ts';
import type { Flow } from '../observe/hubble/flow.ts';
import { EventType } from '../observe/hubble/flow.ts';
import { OUTSIDE, type Topology, type WalkRequest } from './protocol.ts';
import { nodeId, serviceId } from './topology.ts';

/** The part of a flow that an edge stands for. */
export interface FlowEnds {
  readonly from: string;
  readonly to: string;
  readonly service: string;
  readonly protocol: string;
  readonly port: number;
  readonly sample: WalkRequest;
}

/** Finds nodes and Services by the addresses of a topology. */
export class Directory {
  private readonly nodes = new Map<string, string>();
  private readonly gateways = new Map<string, string>();
  private readonly services = new Map<string, Topology['services'][number]>();
  private readonly pods = new Map<string, { readonly id: string; readonly node: string }>();

  constructor({ nodes, services, pods }: Topology) {
    for (const { name, ip, podCIDR } of nodes) {
      if (ip !== '') this.nodes.set(ip, name);
      if (podCIDR.includes('.')) this.gateways.set(gatewayOf(podCIDR), name);
    }
    for (const service of services) this.services.set(service.id, service);
    for (const { ip, id, node } of pods) if (ip !== '') this.pods.set(ip, { id, node });
  }

  /** The end that has an address. */
  endOf(ip: string): string {
    const pod = this.pods.get(ip);
    if (pod !== undefined) return pod.id;
    const node = this.nodeOf(ip);
    if (node !== undefined) return nodeId(node);
    for (const service of this.services.values()) if (service.ip === ip) return service.id;
    return OUTSIDE;
  }

  /** The node of a pod, or of a program of the node itself; undefined for an address outside the cluster. */
  homeOf(ip: string): string | undefined {
    return this.pods.get(ip)?.node ?? this.nodeOf(ip);
  }

  nodeOf(ip: string): string | undefined {
    return this.nodes.get(ip) ?? this.gateways.get(ip);
  }

  /** The address and port under which a client asks for a Service, given the endpoint's port. */
  askedOf(service: string, protocol: string, endpointPort: number, fromOutside: boolean) {
    const found = this.services.get(service);
    if (found === undefined) return undefined;
    const ports = found.ports.filter((port) => port.protocol.toLowerCase() === protocol);
    const port =
      ports.find(({ target }) => target === String(endpointPort)) ??
      ports.find((one) => one.port === endpointPort || one.nodePort === endpointPort) ??
      ports[0];
    if (port === undefined) return undefined;
    const [node] = this.nodes.keys();
    if (fromOutside && port.nodePort !== 0 && node !== undefined) return { ip: node, port: port.nodePort };
    return found.ip === '' ? undefined : { ip: found.ip, port: port.port };
  }
}

/** A connection by its addresses. */
export interface ConnectionAddresses {
  readonly client: string;
  /** The endpoint, where a Service's was chosen. */
  readonly server: string;
  readonly protocol: string;
  readonly srcPort: number;
  /** Of the server. */
  readonly port: number;
  /** The Service that the client asked for, and where, if that is known. */
  readonly asked: (NamedService & { readonly ip?: string; readonly port?: number }) | undefined;
}

interface NamedService {
  readonly name: string;
  readonly namespace: string;
}

/** Undefined for a flow without addresses. The ends are those of the connection: the client first. */
export function endsOf(flow: Flow, directory: Directory): FlowEnds | undefined {
  const { IP, l4 } = flow;
  if (IP === undefined) return undefined;
  const reply = flow.is_reply === true;
  const ports = l4?.TCP ?? l4?.UDP ?? l4?.SCTP;
  const [client, server] = reply ? [IP.destination, IP.source] : [IP.source, IP.destination];
  const source = ports?.source_port ?? 0;
  const destination = ports?.destination_port ?? 0;
  return endsOfConnection(
    {
      client,
      server,
      protocol: protocolOf(l4),
      srcPort: reply ? destination : source,
      port: reply ? source : destination,
      asked: reply ? flow.source_service : flow.destination_service,
    },
    directory,
  );
}

export function endsOfConnection(connection: ConnectionAddresses, directory: Directory): FlowEnds {
  const { client, server, protocol, srcPort, asked } = connection;
  const from = directory.endOf(client);
  const service = asked === undefined ? '' : serviceId(asked.namespace, asked.name);
  const target =
    asked?.ip !== undefined && asked.port !== undefined
      ? { ip: asked.ip, port: asked.port }
      : directory.askedOf(service, protocol, connection.port, from === OUTSIDE);
  const to = directory.endOf(server);
  const port = target?.port ?? connection.port;
  const node = directory.nodeOf(client);
  return {
    from,
    to: to === service ? '' : to,
    service,
    protocol,
    port,
    sample: {
      from: node === undefined ? client : `node/${node}`,
      to: target?.ip ?? server,
      protocol: protocol.replace(/^icmpv4$/, 'icmp'),
      port,
      ...(srcPort > 0 && { srcPort }),
    },
  };
}

function protocolOf(l4: Flow['l4']): string {
  const [name = 'ip'] = Object.keys(l4 ?? {});
  return name.toLowerCase();
}

/** Does this flow begin a connection, seen by the node where it begins? Other nodes of its way see it again. */
export function beginsConnection(flow: Flow, directory: Directory): boolean {
  if (flow.event_type.type !== EventType.TRACE || flow.is_reply !== false) return false;
  const flags = flow.l4?.TCP?.flags;
  if (flow.l4?.TCP !== undefined && !(flags?.SYN && !flags.ACK)) return false;
  const home = directory.homeOf(flow.IP?.source ?? '');
  return home === undefined || home === flow.node_name;
}

/** Is it a packet that did not arrive? The verdict of policies before it is another flow about the same packet. */
export const isDrop = ({ event_type, verdict }: Flow): boolean =>
  verdict === 'DROPPED' && event_type.type === EventType.DROP;
