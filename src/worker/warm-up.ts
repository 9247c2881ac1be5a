/**
 * Runs packets through the pipeline over tables of its own, so that V8 has compiled what they go through before the
 * standby, or a worker that takes over from it, has to forward: the first thousand packets would take fifty times as long, and the repair of the connections five.
 */
import { conntrackBytes, createConntrack } from '../../native-free-dataplane/conntrack/record.ts';
import { repairConntrack } from '../../native-free-dataplane/conntrack/recovery.ts';
import { ARENA_BYTES, attachDataplane, type Dataplane, FRAME_AT } from '../../native-free-dataplane/dataplane.ts';
import { createFragments, fragmentsBytes } from '../../native-free-dataplane/fragments/table.ts';
import { createNodeTable, NodeWord, nodeTableBytes } from '../../native-free-dataplane/node/config.ts';
import { firstNodeHop, HopKind, setHop } from '../../native-free-dataplane/node/hops.ts';
import { setRoute } from '../../native-free-dataplane/node/routes.ts';
import { OVERLAYS } from '../../native-free-dataplane/overlay/modes.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import * as pipeline from '../../native-free-dataplane/pipeline.ts';
import { createPolicies, policyBytes } from '../../native-free-dataplane/policies/table.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../../native-free-dataplane/protocols.ts';
import { createServices, servicesBytes } from '../../native-free-dataplane/services/table.ts';
import { countersBytes, createCounters } from '../../native-free-dataplane/shared/counters.ts';
import { Verdict } from '../../native-free-dataplane/verdicts.ts';
import { addressWords, type Mac, macWords } from '../../native-free-dataplane/wire/address.ts';
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV4,
  writeDestinationMac,
  writeEthernetType,
  writeSourceMac,
} from '../../native-free-dataplane/wire/ethernet.ts';
import { emitIp } from '../../native-free-dataplane/wire/ip.ts';
import { IPV4_MIN_BYTES } from '../../native-free-dataplane/wire/ipv4.ts';
import { emitTcp, TCP_ACK, TCP_MIN_BYTES, TCP_SYN } from '../../native-free-dataplane/wire/tcp.ts';
import { emitUdp, UDP_BYTES } from '../../native-free-dataplane/wire/udp.ts';

const SECRET = Int32Array.of(1, 2, 3, 4);
const SIZES = { maxHops: 16, routeSlots: 64, hostRouteSlots: 16, declaredSlots: 16 };
const HOST_PREFIX = 128;
const MTU = 1450;
const NOW_MS = 100_000;
const PAYLOAD_BYTES = 64;
const FIRST_PORT = 20_000;
/** Connections of each kind; the table has room for all. */
const CONNECTIONS = 256;
/** Data packets of each connection. */
const EXCHANGES = 8;
const REPAIRS = 20;

/** Where packets come from and go to. */
interface End {
  readonly port: number;
  readonly ip: Int32Array;
  readonly mac: Mac;
}

const GATEWAY = macWords('0a:58:0a:00:00:01');
const A: End = { port: 1, ip: addressWords('10.0.0.2'), mac: macWords('0a:58:0a:00:00:02') };
const B: End = { port: 2, ip: addressWords('10.0.0.3'), mac: macWords('0a:58:0a:00:00:03') };
const FAR: End = { port: 0, ip: addressWords('10.0.1.2'), mac: GATEWAY };
const NODE_IP = addressWords('192.0.2.1');
const FAR_NODE_IP = addressWords('192.0.2.2');

function openTables(): Dataplane {
  const shape = { workers: 1, ports: SIZES.maxHops >> 1, secret: SECRET };
  const connections = { addressWords: 1, max: 4 * CONNECTIONS, workers: 1, secret: SECRET };
  const buffers = {
    conntrack: new ArrayBuffer(conntrackBytes(connections)),
    services: new ArrayBuffer(servicesBytes({})),
    routes: new ArrayBuffer(nodeTableBytes(SIZES)),
    counters: new ArrayBuffer(countersBytes(shape)),
    fragments: new ArrayBuffer(fragmentsBytes()),
    policies: new ArrayBuffer(policyBytes()),
  };
  createConntrack(buffers.conntrack, connections);
  createServices(buffers.services, { secret: SECRET });
  createCounters(buffers.counters, shape);
  createFragments(buffers.fragments, { secret: SECRET });
  createPolicies(buffers.policies, { secret: SECRET });
  const node = createNodeTable(buffers.routes, { ...SIZES, secret: SECRET });
  const { config } = node;
  config.set(NODE_IP, NodeWord.NODE_IP);
  config[NodeWord.GATEWAY_MAC_HIGH] = GATEWAY.high;
  config[NodeWord.GATEWAY_MAC_LOW] = GATEWAY.low;
  for (const [at, prefixAt, network, prefix] of [
    [NodeWord.POD_CIDR, NodeWord.POD_CIDR_PREFIX, '10.0.0.0', 120],
    [NodeWord.CLUSTER_CIDR, NodeWord.CLUSTER_CIDR_PREFIX, '10.0.0.0', 112],
    [NodeWord.SERVICE_CIDR, NodeWord.SERVICE_CIDR_PREFIX, '10.1.0.0', 112],
  ] as const) {
    config.set(addressWords(network), at);
    config[prefixAt] = prefix;
  }
  config[NodeWord.OVERLAY] = OVERLAYS.vxlan.mode;
  config[NodeWord.POD_MTU] = MTU;
  config[NodeWord.UNDERLAY_MTU] = MTU;
  for (const { port, ip, mac } of [A, B]) {
    setHop(node, port, { kind: HopKind.POD, macHigh: mac.high, macLow: mac.low, mtu: MTU, address: ip });
    setRoute(node, ip, HOST_PREFIX, port);
  }
  const far = firstNodeHop(node);
  const { high: macHigh, low: macLow } = GATEWAY;
  setHop(node, far, { kind: HopKind.NODE, macHigh, macLow, mtu: MTU, address: FAR_NODE_IP });
  setRoute(node, FAR.ip, HOST_PREFIX, far);
  return attachDataplane(buffers, 0, { emit: () => {} }, { tunnelOffload: true, udpSegmentation: true });
}

/** Puts packets into an arena, and runs them. */
class Runner {
  /** Packets that were forwarded. */
  forwarded = 0;
  readonly dp: Dataplane = openTables();
  private readonly pkt = new Packet(new ArrayBuffer(ARENA_BYTES));

  /** A packet of one connection. @param flags of TCP; undefined: UDP */
  send(from: End, to: End, ports: number, flags?: number): void {
    const { pkt, dp } = this;
    const { view } = pkt;
    const l3 = FRAME_AT + ETHERNET_BYTES;
    const l4 = l3 + IPV4_MIN_BYTES;
    const end = l4 + (flags === undefined ? UDP_BYTES + PAYLOAD_BYTES : TCP_MIN_BYTES);
    writeDestinationMac(view, FRAME_AT, GATEWAY.high, GATEWAY.low);
    writeSourceMac(view, FRAME_AT, from.mac.high, from.mac.low);
    writeEthernetType(view, FRAME_AT, ETHERTYPE_IPV4);
    emitIp(view, l3, end, flags === undefined ? PROTOCOL_UDP : PROTOCOL_TCP, from.ip, to.ip);
    if (flags === undefined) emitUdp(view, l4, ports >>> 16, ports & 0xffff, end - l4);
    else emitTcp(view, l4, ports, flags & TCP_SYN ? 0 : 1, flags & TCP_ACK ? 1 : 0, flags);
    pkt.reset(FRAME_AT, end, from.port);
    const verdict = pipeline.processFrame(pkt, dp, NOW_MS);
    if (verdict === Verdict.SENT || verdict === Verdict.ENCAPSULATED) this.forwarded++;
  }
}

/** @returns how many of its packets were forwarded: all, or it warms up something else */
export function warmUp(): { sent: number; forwarded: number } {
  const runner = new Runner();
  const { dp } = runner;
  let sent = 0;
  for (let i = 0; i < CONNECTIONS; i++) {
    const ports = ((FIRST_PORT + i) << 16) | 80;
    const back = (80 << 16) | (FIRST_PORT + i);
    runner.send(A, B, ports, TCP_SYN);
    runner.send(B, A, back, TCP_SYN | TCP_ACK);
    runner.send(A, B, ports, TCP_ACK);
    sent += 3;
    for (let n = 0; n < EXCHANGES; n++) {
      runner.send(A, B, ports, TCP_ACK);
      runner.send(B, A, back, TCP_ACK);
      runner.send(A, B, ports);
      runner.send(B, A, back);
      runner.send(A, FAR, ports);
      sent += 5;
    }
    pipeline.tick(dp, NOW_MS);
  }
  for (let n = 0; n < REPAIRS; n++) repairConntrack(dp.conntrack, NOW_MS, 1);
  return { sent, forwarded: runner.forwarded };
}
