/**
 * A node in memory: real tables, the real pipeline, no devices, no root, a simulated clock. Frames are text on input
 * and output; several nodes can be connected through their overlay.
 */
import { type Conntrack, conntrackBytes, createConntrack } from '../../native-free-dataplane/conntrack/record.ts';
import { entryCount } from '../../native-free-dataplane/conntrack/shares.ts';
import {
  ARENA_BYTES,
  attachDataplane,
  type Dataplane,
  type Emitter,
  type Features,
  type TableBuffers,
} from '../../native-free-dataplane/dataplane.ts';
import { createFragments, fragmentsBytes } from '../../native-free-dataplane/fragments/table.ts';
import { createNodeTable, type NodeTable, nodeTableBytes } from '../../native-free-dataplane/node/config.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import * as pipeline from '../../native-free-dataplane/pipeline.ts';
import {
  createPolicies,
  type PolicyOptions,
  type PolicyTable,
  policyBytes,
} from '../../native-free-dataplane/policies/table.ts';
import { printBytes } from '../../native-free-dataplane/print/frame.ts';
import { createServices, type ServiceTable, servicesBytes } from '../../native-free-dataplane/services/table.ts';
import { ServiceWriter } from '../../native-free-dataplane/services/writer.ts';
import {
  type Counters,
  countersBytes,
  createCounters,
  verdictTotal,
} from '../../native-free-dataplane/shared/counters.ts';
import { MAX_VERDICTS, verdictName } from '../../native-free-dataplane/verdicts.ts';
import { addressWords } from '../../native-free-dataplane/wire/address.ts';
import { writePodNetwork } from '../../src/agent/connections/settings.ts';
import { type NodeIdentity, NodeSync } from '../../src/agent/node-sync.ts';
import { contains, networkWords, parseCidr, parseIp } from '../../src/net/address.ts';
import { gatewayOf, macOf } from '../../src/net/pod-network.ts';
import type { Pipeline } from '../../src/worker/stages.ts';
import { type FrameOptions, frame } from './frames/frame-text.ts';
import { type LoadOptions, loadFrame } from './frames/load-frame.ts';
import { nodeIdentity } from './node-identity.ts';

const SECRET = Int32Array.of(11, 22, 33, 44);

export interface TestNodeOptions extends Partial<NodeIdentity> {
  /** Number of the node, from which its addresses derive (node-identity.ts); 1. */
  number?: number;
  maxConntrack?: number;
  features?: Features;
  seed?: number;
  /** Receives sent packets instead of `sent`, as a device would. */
  emitter?: Emitter;
  /** Number of workers of the tables, and where their memory comes from: shared, if the workers are other threads. */
  workers?: number;
  memory?: (bytes: number) => ArrayBuffer;
  /** Sizes of the policy table, if it has to hold much. */
  policies?: PolicyOptions;
  /** Another build of the pipeline. */
  pipeline?: Pipeline;
}

export interface TestService {
  name?: string;
  /** Endpoints as address:port; those in this node's pod network are local. */
  endpoints: string[];
  affinitySeconds?: number;
  internalLocal?: boolean;
  externalLocal?: boolean;
  maglev?: boolean;
  nodePort?: number;
  sourceRanges?: string[];
  externalIP?: string;
  loadBalancerIP?: string;
}

const PROTOCOLS: Record<string, number> = { tcp: 6, udp: 17, sctp: 132 };

/** A sent frame: the port and its bytes. */
export interface Sent {
  port: number;
  bytes: Uint8Array;
  needsChecksum: number;
  gsoType: number;
  gsoSize: number;
}

export class TestNode {
  readonly identity: NodeIdentity;
  readonly buffers: TableBuffers;
  readonly conntrack: Conntrack;
  readonly services: ServiceTable;
  readonly writer: ServiceWriter;
  readonly node: NodeTable;
  readonly counters: Counters;
  readonly policies: PolicyTable;
  readonly sync: NodeSync;
  readonly dataplane: Dataplane;
  readonly pkt: Packet;
  nowMs = 100_000;
  readonly out: Sent[] = [];
  private readonly pipeline: Pipeline;
  private readonly ports = new Map<string, number>();
  private readonly before = new Float64Array(MAX_VERDICTS);

  constructor(options: TestNodeOptions = {}) {
    this.identity = { ...nodeIdentity(options.number), ...options };
    this.pipeline = options.pipeline ?? pipeline;
    const workers = options.workers ?? 1;
    const memory = options.memory ?? ((bytes) => new ArrayBuffer(bytes));
    const policySizes = options.policies ?? POLICY_SIZES;
    const conntrackOptions = { addressWords: 1, max: options.maxConntrack ?? 4096, workers, secret: SECRET };
    const buffers = {
      conntrack: memory(conntrackBytes(conntrackOptions)),
      services: memory(servicesBytes(SERVICE_SIZES)),
      routes: memory(nodeTableBytes(NODE_SIZES)),
      counters: memory(countersBytes({ workers, ports: 64 })),
      fragments: memory(fragmentsBytes()),
      policies: memory(policyBytes(policySizes)),
    };
    this.buffers = buffers;
    this.conntrack = createConntrack(buffers.conntrack, conntrackOptions);
    writePodNetwork(this.conntrack, this.identity.podCIDR);
    this.services = createServices(buffers.services, { ...SERVICE_SIZES, secret: SECRET });
    this.node = createNodeTable(buffers.routes, { ...NODE_SIZES, secret: SECRET });
    this.counters = createCounters(buffers.counters, { workers, ports: 64, secret: SECRET });
    createFragments(buffers.fragments, { secret: SECRET });
    this.policies = createPolicies(buffers.policies, { ...policySizes, secret: SECRET });
    this.writer = new ServiceWriter(this.services);
    this.sync = new NodeSync(this.node, this.identity);
    const arena = new ArrayBuffer(ARENA_BYTES);
    this.pkt = new Packet(arena);
    const emitter: Emitter = options.emitter ?? { emit: (pkt) => this.take(pkt) };
    const features = options.features ?? { tunnelOffload: true, udpSegmentation: true };
    this.dataplane = attachDataplane(buffers, 0, emitter, features, options.seed ?? 7);
  }

  get gateway(): string {
    return gatewayOf(this.identity.podCIDR);
  }

  /** Add a pod of this node; `name` is used by receive and sent. */
  pod(name: string, ip: string, declared: { protocol: string; port: number }[] = []): this {
    const port = this.sync.freePort();
    if (port === undefined) throw new Error('no port is free');
    this.ports.set(name, port);
    this.sync.setPod(port, { key: name, ip, declared });
    return this;
  }

  /** Add another node. */
  peer(number: number): this {
    const { nodeIP, podCIDR } = nodeIdentity(number);
    this.sync.setNode({
      name: `n${number}`,
      ip: nodeIP,
      podCIDRs: [podCIDR],
      vtepMac: macOf(gatewayOf(podCIDR)),
    });
    return this;
  }

  /** Add or change a service port such as `tcp 10.96.0.10:80`. */
  service(frontend: string, service: TestService): this {
    const [protocol = '', address = ''] = frontend.split(' ');
    const [ip = '', port = ''] = address.split(':');
    const own = parseCidr(this.identity.podCIDR)!;
    const all = service.endpoints.map((text) => {
      const [host = '', number = ''] = text.split(':');
      return { address: addressWords(host), port: Number(number), key: text };
    });
    const local = all.filter(({ key }) => contains(own, parseIp(key.split(':')[0]!)!));
    const number = PROTOCOLS[protocol] ?? 0;
    this.writer.set(
      {
        name: service.name ?? frontend,
        protocol: number,
        frontends: [
          { kind: 1, address: addressWords(ip), port: Number(port) },
          ...(service.externalIP
            ? [{ kind: 2 as const, address: addressWords(service.externalIP), port: Number(port) }]
            : []),
          ...(service.loadBalancerIP
            ? [{ kind: 3 as const, address: addressWords(service.loadBalancerIP), port: Number(port) }]
            : []),
          ...(service.nodePort ? [{ kind: 4 as const, address: new Int32Array(4), port: service.nodePort }] : []),
        ],
        cluster: all,
        local,
        affinitySeconds: service.affinitySeconds ?? 0,
        internalLocal: service.internalLocal ?? false,
        externalLocal: service.externalLocal ?? false,
        hasEndpoints: all.length > 0,
        maglev: service.maglev ?? false,
        sourceRanges: (service.sourceRanges ?? []).map((text) => networkWords(parseCidr(text)!)),
      },
      this.nowMs,
    );
    return this;
  }

  /** Port of a pod by name; `host` is dp0. */
  portOf(name: string): number {
    if (name === 'host') return 0;
    const port = this.ports.get(name);
    if (port === undefined) throw new Error(`no pod ${name}`);
    return port;
  }

  /** A frame arrives at a pod's port (or at `host`); returns the verdict's name. */
  receive(from: string, text: string, options: FrameOptions & LoadOptions = {}): string {
    const hostMacs =
      from === 'host' ? { dstMac: macOf(this.gateway), srcMac: '02:00:00:00:00:09' } : { dstMac: macOf(this.gateway) };
    const outer = text.startsWith('vxlan')
      ? { ...options, outer: { ...hostMacs, ...options.outer }, dstMac: macOf(this.gateway) }
      : { ...hostMacs, ...options };
    return this.receiveBytes(from, frame(text, outer), options);
  }

  /** The same with the frame's bytes. */
  receiveBytes(from: string, bytes: Uint8Array, options: LoadOptions = {}): string {
    loadFrame(this.pkt, bytes, this.portOf(from), options);
    return verdictName(this.pipeline.processFrame(this.pkt, this.dataplane, this.nowMs));
  }

  /** Advance the clock. */
  advance(ms: number): void {
    const end = this.nowMs + ms;
    while (this.nowMs < end) {
      this.nowMs = Math.min(end, this.nowMs + 64);
      this.pipeline.tick(this.dataplane, this.nowMs);
    }
  }

  /** Everything sent to a pod (or `host`) since the last call, in brief. */
  sent(to: string): string[] {
    return this.sentFrames(to).map((sent) => printBytes(sent.bytes, true));
  }

  /** The same in full. */
  sentFully(to: string): string[] {
    return this.sentFrames(to).map((sent) => printBytes(sent.bytes));
  }

  /** The frames themselves. */
  sentFrames(to: string): Sent[] {
    const port = this.portOf(to);
    const mine = this.out.filter((sent) => sent.port === port);
    const rest = this.out.filter((sent) => sent.port !== port);
    this.out.length = 0;
    this.out.push(...rest);
    return mine;
  }

  /** Which counters moved since the last call, by name. */
  countersMoved(): Record<string, number> {
    const moved: Record<string, number> = {};
    for (let verdict = 0; verdict < MAX_VERDICTS; verdict++) {
      const total = verdictTotal(this.counters, verdict);
      const before = this.before[verdict] ?? 0;
      if (total !== before) moved[verdictName(verdict)] = total - before;
      this.before[verdict] = total;
    }
    return moved;
  }

  /** Live connections. */
  get flows(): number {
    return entryCount(this.conntrack);
  }

  private take(pkt: Packet): void {
    this.out.push({
      port: pkt.outPort,
      bytes: pkt.bytes.slice(pkt.start, pkt.end),
      needsChecksum: pkt.needsChecksum,
      gsoType: pkt.gsoType,
      gsoSize: pkt.gsoSize,
    });
  }
}

const SERVICE_SIZES = { slots: 4096, poolWords: 262144, endpoints: 8192, affinitySlots: 1024 };
const POLICY_SIZES = { halfWords: 16384, maxRules: 128 };
const NODE_SIZES = { maxHops: 64, routeSlots: 256, hostRouteSlots: 64, declaredSlots: 256 };

/** Carry overlay packets between the nodes until none is left. */
export function exchange(a: TestNode, b: TestNode): void {
  for (let round = 0; round < 20; round++) {
    const fromA = a.sentFrames('host');
    const fromB = b.sentFrames('host');
    if (fromA.length === 0 && fromB.length === 0) return;
    for (const sent of fromA) deliver(b, sent);
    for (const sent of fromB) deliver(a, sent);
  }
}

/** Does what the kernel's route would do: the outer frame is readdressed to the other node's dp0. */
export function deliver(to: TestNode, sent: Sent): void {
  const mac = macOf(to.gateway)
    .split(':')
    .map((byte) => Number.parseInt(byte, 16));
  sent.bytes.set(mac, 0);
  to.receiveBytes('host', sent.bytes);
}
