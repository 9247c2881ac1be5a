/**
 * The paths of a packet through a node that are measured: which client, which server, through which address. Another
 * family or path is one more row of SCENARIOS.
 */
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { macOf } from '../../../src/net/pod-network.ts';
import type { FrameOptions } from '../../../test/lib/frames/frame-text.ts';
import { BenchNode } from './bench-node.ts';
import type { PipelineModule } from './bundles.ts';
import type { Template } from './frames.ts';

/** Number of clients of each kind; flows are distributed over them and over ports. */
export const CLIENTS = 16;
/** Number of endpoints of each service: a masquerading address has a limited number of ports toward each of them. */
export const ENDPOINTS = 8;
const FIRST_PORT = 10_000;

export interface Scenario {
  readonly name: string;
  /** Where client k sends from (a pod, or `host` for a client outside the cluster) and its address. */
  readonly client: (k: number) => { readonly port: string; readonly address: string };
  /** Address and port the client connects to. */
  readonly server: string;
  /** Address of the server's pod, if the client's frames are switched to it. */
  readonly switchedTo?: string;
}

/** Verdicts of packets that were forwarded. */
export const isSent = (verdict: Verdict): boolean =>
  verdict === Verdict.SENT || verdict === Verdict.ENCAPSULATED || verdict === Verdict.TO_HOST;

const pod = (k: number): { port: string; address: string } => ({ port: `c${k}`, address: `10.244.1.${10 + k}` });
const outside = (k: number): { port: string; address: string } => ({ port: 'host', address: `172.18.0.${100 + k}` });

export const SCENARIOS: readonly Scenario[] = [
  { name: 'pod to pod, same node', client: pod, server: '10.244.1.2:80', switchedTo: '10.244.1.2' },
  { name: 'pod to pod, other node', client: pod, server: '10.244.2.2:80' },
  { name: 'ClusterIP, endpoint here', client: pod, server: '10.96.0.10:80' },
  { name: 'ClusterIP, endpoint on another node', client: pod, server: '10.96.0.11:80' },
  { name: 'NodePort with masquerade, endpoint here', client: outside, server: '172.18.0.11:30010' },
  { name: 'NodePort with masquerade, endpoint on another node', client: outside, server: '172.18.0.11:30011' },
];

/** A node with everything in SCENARIOS. */
function benchNode(maxConntrack: number, pipeline?: PipelineModule): BenchNode {
  const node = new BenchNode(maxConntrack, undefined, pipeline);
  for (let k = 0; k < ENDPOINTS; k++) node.testNode.pod(`server${k}`, `10.244.1.${2 + k}`);
  node.testNode.peer(2);
  for (let k = 0; k < CLIENTS; k++) node.testNode.pod(pod(k).port, pod(k).address);
  for (const protocol of ['tcp', 'udp']) {
    const endpoints = (net: number): string[] =>
      Array.from({ length: ENDPOINTS }, (_, k) => `10.244.${net}.${2 + k}:8080`);
    node.testNode.service(`${protocol} 10.96.0.10:80`, {
      endpoints: endpoints(1),
      nodePort: 30010,
      name: `here/${protocol}`,
    });
    node.testNode.service(`${protocol} 10.96.0.11:80`, {
      endpoints: endpoints(2),
      nodePort: 30011,
      name: `there/${protocol}`,
    });
  }
  return node;
}

/** The request of flow n of a scenario. */
export function request(
  node: BenchNode,
  { client, server, switchedTo }: Scenario,
  n: number,
  protocol: string,
  rest: string,
  options: FrameOptions = {},
  more: Partial<Template> = {},
): Template {
  const { port, address } = client(n % CLIENTS);
  const source = `${address}:${FIRST_PORT + Math.floor(n / CLIENTS)}`;
  const macs = switchedTo ? { dstMac: macOf(switchedTo) } : {};
  return node.template(port, `${protocol} ${source} > ${server} ${rest}`, { ...macs, ...options }, more);
}

/** Numbers 0..count-1 in a random but fixed order: neighbours in time are not neighbours in memory. */
export function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  let random = 12345;
  for (let i = count - 1; i > 0; i--) {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    const j = (random >>> 8) % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Frames of established connections, to be processed in turn. */
export interface Conversation {
  readonly node: BenchNode;
  readonly requests: Template[];
  readonly replies: Template[];
}

/** UDP flows of 64-byte frames with a reply, in an order other than the table's. */
export function udpConversation(scenario: Scenario, flows: number, pipeline?: PipelineModule): Conversation {
  const node = benchNode(131072, pipeline);
  const requests: Template[] = new Array(flows);
  const replies: Template[] = new Array(flows);
  for (const n of shuffled(flows)) {
    const asked = request(node, scenario, n, 'udp', 'len 18');
    const answer = node.send(asked);
    node.send(answer);
    node.send(asked);
    requests[n] = asked;
    replies[n] = answer;
  }
  return { node, requests, replies };
}

/** Payload of a TCP super-packet that fits into the overlay, and of its segments. */
const SUPER_BYTES = 63_000;
const SEGMENT_BYTES = 1398;
const TIMESTAMPS = { tcpOptions: 'nop, nop, ts 1 1' };

/**
 * TCP connections in bulk: the requests are super-packets of 63,000 bytes, the replies their acknowledgements. Both
 * must be played in turn, or the window closes.
 */
export function tcpConversation(scenario: Scenario, flows: number, pipeline?: PipelineModule): Conversation {
  const node = benchNode(131072, pipeline);
  const requests: Template[] = new Array(flows);
  const replies: Template[] = new Array(flows);
  const partial = { partial: true };
  for (const n of shuffled(flows)) {
    const syn = { ...partial, tcpOptions: 'mss 1410, sackOK, ts 1 0, nop, wscale 10' };
    const synAck = node.send(request(node, scenario, n, 'tcp', 'S seq 0 win 64000', syn, partial));
    const ofPod = synAck.port !== 0;
    node.send({ ...withTcp(synAck, 0x12, 0, 1), partial: ofPod });
    const options = { ...partial, ...TIMESTAMPS };
    const ack = request(node, scenario, n, 'tcp', 'A seq 1 ack 1 win 1000', options, partial);
    const reply = node.send(ack);
    requests[n] = {
      ...ack,
      bytes: lengthened(ack.bytes, SUPER_BYTES),
      length: ack.bytes.length + SUPER_BYTES,
      gsoSize: SEGMENT_BYTES,
      sequenceStep: SUPER_BYTES,
    };
    replies[n] = { ...withTcp(reply, 0x10, 1, 1), partial: ofPod, acknowledgedStep: SUPER_BYTES };
  }
  return { node, requests, replies };
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The frame with other flags and numbers in its innermost TCP header. */
function withTcp(template: Template, flags: number, sequence: number, acknowledged: number): Template {
  const bytes = template.bytes.slice();
  const view = viewOf(bytes);
  const isVxlan = bytes[23] === 17;
  const l4 = (isVxlan ? 64 : 14) + 20;
  view.setInt32(l4 + 4, sequence);
  view.setInt32(l4 + 8, acknowledged);
  view.setUint8(l4 + 13, flags);
  return { ...template, bytes };
}

/** The frame with a larger total length in its IPv4 header, and an updated checksum. */
function lengthened(frame: Uint8Array, more: number): Uint8Array {
  const bytes = frame.slice();
  const view = viewOf(bytes);
  const length = view.getUint16(16);
  view.setUint16(16, length + more);
  let sum = (~view.getUint16(24) & 0xffff) + (~length & 0xffff) + length + more;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(24, ~sum & 0xffff);
  return bytes;
}
