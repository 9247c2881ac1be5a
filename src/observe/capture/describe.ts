/** What is known of a captured frame, beyond its bytes: the pod, the Service, the verdict. */
import { isFailure, VERDICTS } from '../../../native-free-dataplane/verdicts.ts';
import { formatIpv4 } from '../../../native-free-dataplane/wire/address.ts';
import { ETHERNET_BYTES, ETHERTYPE_IPV4, ethernetType } from '../../../native-free-dataplane/wire/ethernet.ts';
import {
  IPV4_MIN_BYTES,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4Protocol,
  ipv4Source,
} from '../../../native-free-dataplane/wire/ipv4.ts';
import { destinationPort, hasPorts, PORTS_BYTES, sourcePort } from '../../../native-free-dataplane/wire/ports.ts';
import { nameSteps } from '../trace/marked-names.ts';
import { type Names, printServicePort } from '../trace/names.ts';
import type { Step } from '../trace/step.ts';
import type { CapturedPacket } from './packet.ts';
import type { PortIdentity } from './ports.ts';

const MAX_LOOKED_UP = 10_000;
/** Services that were looked up: by protocol, then by address and port as one number. */
const lookedUp = new WeakMap<Names, Map<number, Map<number, string | undefined>>>();
const PORTS = 65_536;

/** Service of the frame's destination or source, such as `default/web:http`. */
export function serviceOf({ bytes }: CapturedPacket, names: Names): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < ETHERNET_BYTES + IPV4_MIN_BYTES || ethernetType(view, 0) !== ETHERTYPE_IPV4) return undefined;
  const l3 = ETHERNET_BYTES;
  const l4 = l3 + ipv4HeaderBytes(view, l3);
  const protocol = ipv4Protocol(view, l3);
  if (!hasPorts(protocol) || bytes.length < l4 + PORTS_BYTES) return undefined;
  return (
    serviceAt(names, ipv4Destination(view, l3), protocol, destinationPort(view, l4)) ??
    serviceAt(names, ipv4Source(view, l3), protocol, sourcePort(view, l4))
  );
}

function serviceAt(names: Names, address: number, protocol: number, port: number): string | undefined {
  const cache = cacheOf(names, protocol);
  const key = (address >>> 0) * PORTS + port;
  const known = cache.get(key);
  if (known !== undefined || cache.has(key)) return known;
  // Ports of clients come and go: what the cache holds is bounded.
  if (cache.size >= MAX_LOOKED_UP) cache.clear();
  const service = findService(names, formatIpv4(address), protocol, port);
  cache.set(key, service);
  return service;
}

function cacheOf(names: Names, protocol: number): Map<number, string | undefined> {
  let all = lookedUp.get(names);
  if (all === undefined) {
    all = new Map();
    lookedUp.set(names, all);
  }
  let cache = all.get(protocol);
  if (cache === undefined) {
    cache = new Map();
    all.set(protocol, cache);
  }
  return cache;
}

function findService(names: Names, ip: string, protocol: number, port: number): string | undefined {
  const found = names.servicePort(ip, protocol, port);
  if (found === undefined) return undefined;
  // A port that equals a NodePort is one only at a node's address.
  if (found.port.nodePort === port && found.port.port !== port && names.nodeAt(ip) === undefined) return undefined;
  return printServicePort(found);
}

/**
 * Comments of a frame in a file, one for each subject, as `Key: value` lines. The keys of pods are those of ptcpdump,
 * which reads them back.
 */
export function commentsOf(
  packet: CapturedPacket,
  { pod }: PortIdentity,
  names: Names,
  service: string | undefined = serviceOf(packet, names),
): string[] {
  const comments: string[] = [];
  if (pod !== undefined) {
    const { name, namespace = 'default', uid } = pod.metadata;
    comments.push(`PodName: ${name}\nPodNamespace: ${namespace}${uid ? `\nPodUID: ${uid}` : ''}`);
  }
  if (service !== undefined) comments.push(`Service: ${service}`);
  const row = VERDICTS[packet.verdict];
  if (row !== undefined) {
    const advice = isFailure(row) ? `\nAdvice: ${row.advice}` : '';
    const denier = packet.deniedBy === undefined ? '' : `\nPolicy: ${packet.deniedBy}`;
    comments.push(`Verdict: ${row.name}: ${row.sentence}${denier}\nSource: ${row.source}${advice}`);
  }
  if (packet.steps !== undefined) comments.push(stepsComment(packet.steps, names));
  if (packet.segmentBytes > 0) {
    comments.push(`Super-packet: the device cuts it into segments of ${packet.segmentBytes} bytes`);
  } else if (packet.checksumPending) comments.push('Checksum: left to the receiving device');
  return comments;
}

/** A line for each step: its stage, the source line that decided, and what it read. */
function stepsComment(steps: readonly Step[], names: Names): string {
  const lines = nameSteps(steps, names).map(({ stage, source, row }) => {
    const what = row === undefined || row.text.length === 0 ? '' : `: ${row.text.join('; ')}`;
    return `Step: ${stage} (${source})${what}`;
  });
  return lines.join('\n');
}
