/** Resolves names of pods, nodes and Services to locations and addresses over copies of the nodes, for a packet to trace. */
import { type CapturedFrame, Direction } from '../../../native-free-dataplane/capture/frame.ts';
import { HopWord, NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, hopAt, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import { PROTOCOL_ICMP, PROTOCOL_TCP, protocolName } from '../../../native-free-dataplane/protocols.ts';
import { formatAddress, type Mac } from '../../../native-free-dataplane/wire/address.ts';
import { servicePortNamed } from '../../api/service-ports.ts';
import type { Service } from '../../api/types/objects.ts';
import { makeFrame, type PacketFields, sourceOf } from './frames.ts';
import type { Names } from './names.ts';
import type { NodeCopy } from './node-copy.ts';
import type { Place } from './walk.ts';

/** Source or destination, as given. `port` is a number or the name of a Service port; undefined if omitted. */
export interface EndArg {
  readonly kind: 'pod' | 'node' | 'svc' | 'outside' | 'ip';
  readonly name: string;
  readonly port: string | undefined;
}

/** The start of a packet's way, and the packet. */
export interface Start {
  readonly from: Place;
  readonly frame: Uint8Array;
}

/** A packet that cannot be traced: the request is wrong, or the cluster does not have what it names. */
class TraceRequestError extends Error {
  override readonly name = 'TraceRequestError';
  /** What to do about it. */
  readonly advice: string | undefined;
  /** The request is wrong whatever the cluster has. */
  readonly isUsage: boolean;

  constructor(what: string, advice?: string, isUsage = false) {
    super(what);
    this.advice = advice;
    this.isUsage = isUsage;
  }
}

const failed = (what: string, advice?: string): TraceRequestError => new TraceRequestError(what, advice);
const usageError = (what: string, advice?: string): TraceRequestError => new TraceRequestError(what, advice, true);

/** Port of the pod with this address, and its node. */
function podPlace(nodes: readonly NodeCopy[], ip: string): { node: NodeCopy; port: number } | undefined {
  for (const node of nodes) {
    const table = node.dp.node;
    for (let hop = 1; hop < firstNodeHop(table); hop++) {
      const isPod = hopKind(table, hop) === HopKind.POD;
      if (isPod && formatAddress(table.hops, hopAt(hop) + HopWord.ADDRESS) === ip) return { node, port: hop };
    }
  }
  return undefined;
}

const own = ({ dp }: NodeCopy, word: number): string => formatAddress(dp.node.config, word);

export interface PacketOptions extends PacketFields {
  readonly from: EndArg;
  readonly to: EndArg;
  readonly namespace: string;
  /** Of the receiver, if it is another. */
  readonly toNamespace?: string | undefined;
  /** IP protocol; TCP by default. */
  readonly protocol?: number | undefined;
  /** Source address; the sender's own by default. */
  readonly src?: string | undefined;
}

/** Resolves names of pods, nodes and services to locations and addresses. */
export class Resolver {
  private readonly nodes: readonly NodeCopy[];
  private readonly names: Names;
  private readonly outside: () => string;

  /** @param outside address of the machine outside the cluster; asked for only if the packet starts there */
  constructor(nodes: readonly NodeCopy[], names: Names, outside: () => string) {
    this.nodes = nodes;
    this.names = names;
    this.outside = outside;
  }

  /** The frame, and the location where it starts. */
  packet(options: PacketOptions): Start {
    const { to, namespace, protocol = PROTOCOL_TCP } = options;
    const from = this.place(options.from, namespace);
    const { ip: dst, port } = this.target(to, from, options.toNamespace ?? namespace, protocol);
    if (port === undefined && protocol !== PROTOCOL_ICMP) {
      throw usageError(`--to needs a port for ${protocolName(protocol)}`, 'such as --to 10.96.0.10:80');
    }
    const own = options.from.kind === 'ip' ? options.from.name : this.sourceAddress(from, dst);
    const src = options.src ?? own;
    const [mac, gateway] = this.macs(from);
    return { from, frame: makeFrame({ ...options, protocol, src, dst, dstPort: port ?? 0 }, mac, gateway) };
  }

  /** The location where a captured frame starts, by its source address. */
  placeOfFrame(frame: Uint8Array): Place {
    const place = this.placeOfFrameOrNone(frame);
    if (place === undefined) throw usageError('the frame has no IPv4 source address', 'add FROM');
    return place;
  }

  /**
   * The location where a frame of a capture starts: the port that received it, if the capture is ours, or else that of its
   * source address.
   */
  placeOfCaptured({ bytes, source, options }: CapturedFrame): Place {
    const at = this.placeOfInterface(source.name);
    if (at === undefined) return this.placeOfFrame(bytes);
    if (((options.flags ?? 0) & 3) === Direction.OUTBOUND) {
      throw failed(`the frame is one that a node has sent, at ${source.name}`, 'give the frame that the node received');
    }
    const name =
      at.port === 0 ? `the kernel of node ${at.node.name}` : `pod ${source.name.split('/', 3).slice(1).join('/')}`;
    return { ...at, name, received: true };
  }

  /** Undefined for a frame that is not IPv4. */
  placeOfFrameOrNone(frame: Uint8Array): Place | undefined {
    const source = sourceOf(frame);
    return source && this.placeOfSource(formatAddress(source));
  }

  /** The port that an interface of our captures stands for: `n1/default/web/eth0`, `n1/dp0`. */
  placeOfInterface(name: string): { node: NodeCopy; port: number } | undefined {
    const [nodeName = '', ...rest] = name.split('/');
    const node = this.nodes.find((one) => one.name === nodeName);
    if (node === undefined) return undefined;
    if (rest.length === 1 && rest[0] === 'dp0') return { node, port: 0 };
    const [namespace = '', pod = '', device] = rest;
    if (device !== 'eth0') return undefined;
    const object = this.names.objects.pods.find(
      ({ metadata }) => metadata.name === pod && (metadata.namespace ?? 'default') === namespace,
    );
    return object?.status?.podIP === undefined ? undefined : podPlace([node], object.status.podIP);
  }

  /** The pod with this address, or else outside. */
  private placeOfSource(ip: string): Place {
    const pod = podPlace(this.nodes, ip);
    return pod === undefined
      ? { node: undefined, port: 0, name: `outside (${ip})` }
      : { ...pod, name: this.names.address(ip) };
  }

  place(end: EndArg, namespace: string): Place {
    switch (end.kind) {
      case 'outside':
        return { node: undefined, port: 0, name: 'outside' };
      case 'node': {
        const node = this.node(end.name);
        return { node, port: 0, name: `node ${node.name}` };
      }
      case 'ip':
        return this.placeOfSource(end.name);
      case 'pod': {
        const ip = this.podAddress(end.name, namespace);
        const at = podPlace(this.nodes, ip);
        if (at === undefined)
          throw failed(`no node of this machine has pod ${end.name} (${ip})`, 'see `dataplane status`');
        return { ...at, name: this.names.address(ip) };
      }
      default:
        throw usageError('FROM cannot be a Service', 'give a pod, a node, an address or outside');
    }
  }

  private node(name: string): NodeCopy {
    const node = this.nodes.find((each) => each.name === name);
    if (node !== undefined) return node;
    throw failed(
      `there is no node "${name}" on this machine`,
      `expected one of ${this.nodes.map((each) => each.name).join(', ')}`,
    );
  }

  private podAddress(name: string, namespace: string): string {
    const pods = this.names.objects.pods.filter(({ metadata }) => (metadata.namespace ?? 'default') === namespace);
    const pod = pods.find(({ metadata }) => metadata.name === name);
    if (pod === undefined)
      throw failed(
        `there is no pod ${name} in namespace ${namespace}`,
        'give its address instead, or see `dataplane get pods`',
      );
    if (pod.status?.podIP === undefined) throw failed(`pod ${name} has no address yet`, 'see `dataplane describe pod`');
    return pod.status.podIP;
  }

  private target(
    to: EndArg,
    from: Place,
    namespace: string,
    protocol: number,
  ): { ip: string; port: number | undefined } {
    switch (to.kind) {
      case 'ip':
        return { ip: to.name, port: portOf(to) };
      case 'pod':
        return { ip: this.podAddress(to.name, namespace), port: portOf(to) };
      case 'node':
        return { ip: own(this.node(to.name), NodeWord.NODE_IP), port: portOf(to) };
      case 'svc':
        return this.serviceTarget(to, from, namespace, protocol);
      default:
        throw usageError('--to outside: expected an address', 'such as --to 172.18.0.1:80');
    }
  }

  private serviceTarget({ name, port: wanted }: EndArg, from: Place, namespace: string, protocol: number) {
    const service = this.names.objects.services.find(
      ({ metadata }) => metadata.name === name && (metadata.namespace ?? 'default') === namespace,
    );
    if (service === undefined)
      throw failed(
        `there is no service ${name} in namespace ${namespace}`,
        'give its address instead, or see `dataplane get services`',
      );
    const { clusterIP } = service.spec;
    if (!clusterIP?.includes('.'))
      throw failed(`service ${name} has no cluster IP`, 'give the address of one of its pods');
    const ports = service.spec.ports ?? [];
    const ofProtocol = ports.filter((port) => (port.protocol ?? 'TCP') === protocolName(protocol).toUpperCase());
    const port =
      wanted === undefined
        ? ofProtocol.length === 1
          ? ofProtocol[0]
          : undefined
        : servicePortNamed(ofProtocol, wanted);
    const number = port?.port ?? (wanted !== undefined && /^\d+$/.test(wanted) ? Number(wanted) : undefined);
    if (protocol !== PROTOCOL_ICMP && number === undefined) {
      const has = ports.map((each) => `${each.port}/${each.protocol ?? 'TCP'}`).join(', ');
      throw failed(`--to svc/${name}: expected a port of ${has}`, `such as --to svc/${name}:${ports[0]?.port ?? 80}`);
    }
    if (from.node !== undefined) return { ip: clusterIP, port: number };
    return this.outsideTarget(service, port?.nodePort, number);
  }

  /** From outside there is no route to ClusterIPs: use a NodePort of the first node, or an external address. */
  private outsideTarget({ metadata, spec, status }: Service, nodePort: number | undefined, port: number | undefined) {
    const external = spec.externalIPs?.[0] ?? status?.loadBalancer?.ingress?.find(({ ip }) => ip !== undefined)?.ip;
    if (nodePort !== undefined) return { ip: own(this.nodes[0]!, NodeWord.NODE_IP), port: nodePort };
    if (external !== undefined) return { ip: external, port };
    throw failed(`service ${metadata.name} cannot be reached from outside: it has no NodePort and no external address`);
  }

  /** The source address that the sender's kernel would choose: for a node, that of the route's device. */
  private sourceAddress(from: Place, dst: string): string {
    if (from.node === undefined) return this.outside();
    if (from.port !== 0) return formatAddress(from.node.dp.node.hops, hopAt(from.port) + HopWord.ADDRESS);
    const nodeIP = own(from.node, NodeWord.NODE_IP);
    return dst === nodeIP ? nodeIP : own(from.node, NodeWord.GATEWAY_IP);
  }

  private macs({ node, port }: Place): [from: Mac, to: Mac] {
    const any: Mac = { high: 0x0200, low: 9 };
    if (node === undefined) return [any, any];
    const { config, hops } = node.dp.node;
    const gateway = { high: config[NodeWord.GATEWAY_MAC_HIGH]!, low: config[NodeWord.GATEWAY_MAC_LOW]! };
    if (port === 0) return [any, gateway];
    const at = hopAt(port);
    return [{ high: hops[at + HopWord.MAC_HIGH]!, low: hops[at + HopWord.MAC_LOW]! }, gateway];
  }
}

/** @throws TraceRequestError */
function portOf({ port }: EndArg): number | undefined {
  if (port === undefined) return undefined;
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  if (number >= 1 && number <= 65535) return number;
  throw usageError(`--to ${port}: expected a port from 1 to 65535`);
}
