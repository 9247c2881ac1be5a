/**
 * Follows a packet from node to node, and its reply back, over copies of the nodes' tables. Between the nodes their
 * kernels are modelled: they send frames over the underlay and hand them to dp0 by the rules of src/agent/underlay.
 */
import { HopWord, inNetwork, NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { HopKind, hopAt, hopKind } from '../../../native-free-dataplane/node/hops.ts';
import { overlayOf } from '../../../native-free-dataplane/overlay/overlay.ts';
import { printBytes } from '../../../native-free-dataplane/print/frame.ts';
import { isTunnelProtocol } from '../../../native-free-dataplane/protocols.ts';
import { findFrontend } from '../../../native-free-dataplane/services/table.ts';
import { ADDRESS_WORDS, Scope, sameAddress, scopeOf } from '../../../native-free-dataplane/shared/address.ts';
import type { processTraced } from '../../../native-free-dataplane/trace/traced.ts';
import { VERDICTS, verdictNamed } from '../../../native-free-dataplane/verdicts.ts';
import { formatAddress, macWords } from '../../../native-free-dataplane/wire/address.ts';
import { ETHERNET_BYTES } from '../../../native-free-dataplane/wire/ethernet.ts';
import { readAddresses, transportAt, transportProtocol } from '../../../native-free-dataplane/wire/ip.ts';
import { destinationPort, hasPorts, PORTS_BYTES, sourcePort } from '../../../native-free-dataplane/wire/ports.ts';
import { answerTo, forwardedByKernel, readdress } from './frames.ts';
import { hexOf } from './hex.ts';
import type { Names } from './names.ts';
import { endpointFinder, type NodeCopy, type Sent, type Surroundings } from './node-copy.ts';
import type { LossAt, Way } from './node-kernel.ts';
import type { NodeTrace } from './step.ts';

/** Source or destination of a frame. */
export interface Place {
  /** Undefined: outside the cluster. */
  readonly node: NodeCopy | undefined;
  /** Port of a pod; 0: the node's own kernel. */
  readonly port: number;
  /** `pod default/web`, `node n1`, `outside`. */
  readonly name: string;
  /** Of port 0: the kernel has already handed the frame over, as one that was captured there. */
  readonly received?: boolean;
}

export interface Walk {
  readonly traces: readonly NodeTrace[];
  readonly from: Place;
  /** Where the packet arrived; undefined if it was not delivered. */
  readonly to: Place | undefined;
  /** Where the reply arrived. */
  readonly answered: Place | undefined;
  /** What happened between the nodes. */
  readonly notes: readonly string[];
}

/** Limit on the nodes of a trace, against forwarding loops. */
const MAX_NODES = 12;
/** A placeholder for the MAC of a node's underlay device: any except that of the gateway. */
const UNDERLAY_MAC = macWords('02:00:00:00:00:0a');

export interface WalkOptions {
  /** Whether steps and nodes keep the frame's bytes. */
  readonly withFrames?: boolean;
  /** Where kernels between the nodes lose frames; left out: nowhere. */
  readonly lossAt?: LossAt;
}

export class Walker {
  private readonly nodes: readonly NodeCopy[];
  private readonly names: Names;
  private readonly surroundings: Surroundings;
  private readonly traces: NodeTrace[] = [];
  private readonly notes: string[] = [];
  private readonly lossAt: LossAt;

  constructor(
    nodes: readonly NodeCopy[],
    names: Names,
    process: typeof processTraced,
    nowMs: number,
    { withFrames = false, lossAt = () => undefined }: WalkOptions = {},
  ) {
    this.nodes = nodes;
    this.names = names;
    this.lossAt = lossAt;
    this.surroundings = { process, nowMs, names, nodesWithEndpoint: endpointFinder(nodes), withFrames };
  }

  /** Follows a frame from its source to its destination, and the reply back. */
  walk(frame: Uint8Array, from: Place): Walk {
    const { arrived, answered, last } = this.send(frame, from, 'original');
    let back = answered ? arrived : undefined;
    if (!answered && arrived !== undefined && last !== undefined) {
      const answer = answerTo(last);
      if (answer === undefined) this.notes.push(`${arrived.name} sends no reply to such a packet`);
      else back = this.send(answer, arrived, 'reply').arrived;
    }
    const { traces, notes } = this;
    return { traces, from, to: answered ? undefined : arrived, answered: back, notes };
  }

  /** Follows a frame to its destination, without a reply. */
  forward(frame: Uint8Array, from: Place): readonly NodeTrace[] {
    this.send(frame, from, 'original');
    return this.traces;
  }

  /** The passage of a frame through one node, which receives it at this port. */
  receive(frame: Uint8Array, node: NodeCopy, port: number): NodeTrace {
    const { steps, verdict, wouldDiffer } = node.receive(frame, port, this.surroundings);
    return { node: node.name, direction: 'original', packet: printBytes(frame, true), steps, verdict, wouldDiffer };
  }

  /** One direction. `answered`: the data plane itself replied, and `arrived` is the destination of that reply. */
  private send(frame: Uint8Array, from: Place, direction: NodeTrace['direction']) {
    let at: { node: NodeCopy; port: number; frame: Uint8Array } | undefined;
    let arrived: Place | undefined;
    let answered = false;
    let last: Uint8Array | undefined;
    if (from.node === undefined) ({ at, arrived } = this.onTheWire(frame));
    else if (from.port === 0 && from.received !== true) ({ at, arrived } = this.fromKernel(frame, from.node));
    else at = { node: from.node, port: from.port, frame };
    for (let hops = 0; at !== undefined && hops < MAX_NODES; hops++) {
      const { node, port } = at;
      const passage = node.receive(at.frame, port, this.surroundings);
      const { steps, verdict, wouldDiffer } = passage;
      if (VERDICTS[verdictNamed(verdict)]?.class === 'answered') answered = true;
      const way = answered ? 'reply' : direction;
      const packet = printBytes(at.frame, true);
      this.traces.push({
        node: node.name,
        direction: hops > 0 ? way : direction,
        packet,
        ...(this.surroundings.withFrames && { frame: hexOf(at.frame) }),
        steps,
        verdict,
        wouldDiffer,
      });
      const [sent, ...more] = passage.sent;
      if (more.length > 0) this.notes.push(`${node.name} sends ${more.length + 1} frames; the trace follows the first`);
      if (sent === undefined) return { arrived: undefined, answered, last };
      last = sent.bytes;
      ({ at, arrived } = this.follow(sent, node));
    }
    return { arrived, answered, last };
  }

  /** The next step of a frame that a node's pipeline sent. */
  private follow({ port, bytes }: Sent, node: NodeCopy): Next {
    if (port !== 0 && hopKind(node.dp.node, port) === HopKind.POD) return { arrived: this.podPlace(node, port) };
    const { dst } = addressesOf(bytes);
    if (isOwn(node, dst)) return { arrived: { node, port: 0, name: `node ${node.name}` } };
    const sent = forwardedByKernel(bytes);
    if (sent !== undefined) return this.isLost(node, 'out', sent) ? {} : this.onTheWire(sent);
    this.notes.push(`the kernel of ${node.name} drops it: its TTL expires`);
    return {};
  }

  /** A frame on the underlay: which node receives it, and whether that hands it to dp0. */
  private onTheWire(frame: Uint8Array): Next {
    const { dst } = addressesOf(frame);
    const node = this.nodes.find(
      (each) => sameAddress(dst, each.dp.node.config, NodeWord.NODE_IP) || this.takesByRoute(each, dst),
    );
    if (node === undefined) {
      const known = this.nodes[0]?.dp.node.config;
      const inside =
        known !== undefined && inNetwork(known, NodeWord.CLUSTER_CIDR, known[NodeWord.CLUSTER_CIDR_PREFIX]!, dst);
      if (inside) {
        this.notes.push(`no node of this machine has ${formatAddress(dst)}: the trace ends on the wire`);
        return {};
      }
      return { arrived: { node: undefined, port: 0, name: this.outsideName(dst) } };
    }
    if (this.isLost(node, 'in', frame)) return {};
    if (this.comesToDp0(node, frame)) return { at: { node, port: 0, frame: readdress(frame, UNDERLAY_MAC) } };
    return { arrived: { node, port: 0, name: `node ${node.name}` } };
  }

  /** Without a tunnel, nodes' kernels route the pod networks; the outside routes the addresses of services. */
  private takesByRoute({ dp }: NodeCopy, dst: Int32Array): boolean {
    const { config } = dp.node;
    const external = findFrontend(dp.services, dst, 0) >= 0;
    if (external && !inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX]!, dst)) return true;
    const routed = !overlayOf(dp).isTunnel;
    return routed && inNetwork(config, NodeWord.POD_CIDR, config[NodeWord.POD_CIDR_PREFIX]!, dst);
  }

  /** The rules of src/agent/underlay/: overlay packets, NodePorts and replies to masqueraded connections go to dp0. */
  private comesToDp0({ dp }: NodeCopy, frame: Uint8Array): boolean {
    const { config } = dp.node;
    const { view, dst, protocol, l4, port } = addressesOf(frame);
    if (!sameAddress(dst, config, NodeWord.NODE_IP)) return true;
    const between = (low: number, high: number): boolean => port >= config[low]! && port <= config[high]!;
    const isWhole = frame.length >= l4 + PORTS_BYTES;
    if (isWhole && overlayOf(dp).isOverlayPacket(view, ETHERNET_BYTES, l4, config)) return true;
    // Other tunnels are left to the node's kernel.
    if (isTunnelProtocol(protocol)) return false;
    if (!hasPorts(protocol)) return true;
    return (
      between(NodeWord.NODE_PORT_LOW, NodeWord.NODE_PORT_HIGH) ||
      between(NodeWord.MASQUERADE_PORT_LOW, NodeWord.MASQUERADE_PORT_HIGH)
    );
  }

  /** A frame that a node's own program sends: pods, services and its own NodePorts are routed to dp0. */
  private fromKernel(frame: Uint8Array, node: NodeCopy): Next {
    const { config } = node.dp.node;
    const { dst } = addressesOf(frame);
    const toDp0 =
      inNetwork(config, NodeWord.CLUSTER_CIDR, config[NodeWord.CLUSTER_CIDR_PREFIX]!, dst) ||
      inNetwork(config, NodeWord.SERVICE_CIDR, config[NodeWord.SERVICE_CIDR_PREFIX]!, dst) ||
      (isOwn(node, dst) && this.comesToDp0(node, frame));
    const gateway = { high: config[NodeWord.GATEWAY_MAC_HIGH]!, low: config[NodeWord.GATEWAY_MAC_LOW]! };
    if (toDp0)
      return this.isLost(node, 'own', frame) ? {} : { at: { node, port: 0, frame: readdress(frame, gateway) } };
    this.notes.push(`the kernel of ${node.name} sends it by its own routes, not through the data plane`);
    return this.onTheWire(frame);
  }

  /** Does the node's kernel lose the frame? Then a note says why. */
  private isLost({ name }: NodeCopy, way: Way, frame: Uint8Array): boolean {
    const { view, src, dst, protocol, l4, port } = addressesOf(frame);
    const withPorts = hasPorts(protocol) && frame.length >= l4 + PORTS_BYTES;
    const why = this.lossAt(name, way, {
      src: formatAddress(src),
      dst: formatAddress(dst),
      protocol,
      srcPort: withPorts ? sourcePort(view, l4) : undefined,
      dstPort: withPorts ? port : undefined,
    });
    if (why !== undefined) this.notes.push(why);
    return why !== undefined;
  }

  podPlace(node: NodeCopy, port: number): Place {
    return { node, port, name: this.names.address(formatAddress(node.dp.node.hops, hopAt(port) + HopWord.ADDRESS)) };
  }

  private outsideName(dst: Int32Array): string {
    return `outside (${formatAddress(dst)})`;
  }
}

interface Next {
  at?: { node: NodeCopy; port: number; frame: Uint8Array };
  arrived?: Place;
}

/** What a frame's outermost IP header contains, and the port after it. */
function addressesOf(frame: Uint8Array) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const src = new Int32Array(ADDRESS_WORDS);
  const dst = new Int32Array(ADDRESS_WORDS);
  readAddresses(view, ETHERNET_BYTES, src, dst);
  const protocol = transportProtocol(view, ETHERNET_BYTES);
  const l4 = transportAt(view, ETHERNET_BYTES);
  const port = hasPorts(protocol) && frame.length >= l4 + PORTS_BYTES ? destinationPort(view, l4) : 0;
  return { view, src, dst, protocol, l4, port };
}

function isOwn({ dp }: NodeCopy, address: Int32Array): boolean {
  const { config } = dp.node;
  const own = sameAddress(address, config, NodeWord.NODE_IP) || sameAddress(address, config, NodeWord.GATEWAY_IP);
  return own || scopeOf(address) === Scope.LOOPBACK;
}
