/** Messages of applications as flows in Hubble's schema: queries and answers of name servers, requests and responses of HTTP. */
import { randomUUID } from 'node:crypto';
import { protocolName } from '../../../native-free-dataplane/protocols.ts';
import { EventType, type Flow, type Layer7 } from '../hubble/flow.ts';
import type { DnsMessage } from '../layer7/dns.ts';
import type { HttpRequest, HttpResponse } from '../layer7/http.ts';
import type { Message, SeenMessage } from '../layer7/messages.ts';
import type { SegmentEnd } from '../layer7/segment.ts';
import type { FlowSource } from './drops.ts';
import { layer4Of } from './layer4.ts';

export interface MessageEvent {
  readonly node: string;
  readonly kind: 'MESSAGE';
  readonly seen: SeenMessage;
}

/** A request without its answer. */
interface Request {
  readonly timeMs: number;
  readonly server: SegmentEnd;
  /** Of HTTP. */
  readonly http: HttpRequest | undefined;
}

/** Connections with requests that are not answered yet, and such requests of each; older ones are forgotten. */
const MAX_WAITING = 4096;
const MAX_PIPELINED = 16;

/** Texts of return codes (IANA, DNS RCODEs) as Hubble prints them; others by their number. */
const RCODES: Readonly<Record<number, string>> = {
  1: 'Format Error',
  2: 'Server Failure',
  3: 'Non-Existent Domain',
  4: 'Not Implemented',
  5: 'Query Refused',
};
/** observation_source: where messages are read. */
const SOURCE = 'packet';

export class MessageFlows {
  private readonly source: FlowSource;
  private readonly waiting = new Map<string, Request[]>();

  constructor(source: FlowSource) {
    this.source = source;
  }

  /**
   * A message is reported once: by the node of the server if that is a pod of an observed node, else by that of the client.
   */
  of(event: MessageEvent, time: string): Flow[] {
    const { node, seen } = event;
    const { addresses, nodes, names } = this.source;
    const { message, client, asked, protocol } = seen;
    const serverOwner = addresses.owner(seen.server.ip, node);
    const isPod = serverOwner.endpoint.pod_name !== undefined;
    if (isPod && serverOwner.node !== node && nodes.has(serverOwner.node ?? '')) return [];
    if (message.kind === 'dns' && message.isReply) names.add(client.ip, message.name, message.addresses);
    const request = message.isReply ? this.answered(event) : this.asked(event);
    const server = request?.server ?? seen.server;
    const [from, to] = message.isReply ? [server, client] : [client, server];
    const service = addresses.service(asked.ip, asked.port, protocolName(protocol).toUpperCase());
    const http = message.kind === 'http' ? (message.isReply ? request?.http : message) : undefined;
    const latencyMs = request === undefined ? 0 : Math.max(0, seen.timeMs - request.timeMs);
    return [
      {
        time,
        uuid: randomUUID(),
        emitter: this.source.emitter,
        verdict: 'FORWARDED',
        IP: { source: from.ip, destination: to.ip, ipVersion: 'IPv4' },
        l4: layer4Of({
          protocol,
          ports: { source_port: from.port, destination_port: to.port },
          flags: [],
          icmp: { type: 0, code: 0 },
        }),
        source: addresses.owner(from.ip, node).endpoint,
        destination: addresses.owner(to.ip, node).endpoint,
        Type: 'L7',
        node_name: node,
        l7: layer7Of(message, http, latencyMs),
        event_type: { type: EventType.L7 },
        ...(service && (message.isReply ? { source_service: service } : { destination_service: service })),
        traffic_direction: isPod && serverOwner.node === node ? 'INGRESS' : 'EGRESS',
        is_reply: message.isReply,
        Summary: summaryOf(message, http, latencyMs),
      },
    ];
  }

  private asked(event: MessageEvent): undefined {
    const { message, server, timeMs } = event.seen;
    const key = keyOf(event);
    const requests = this.waiting.get(key) ?? [];
    requests.push({ timeMs, server, http: message.kind === 'http' && !message.isReply ? message : undefined });
    if (requests.length > MAX_PIPELINED) requests.shift();
    this.waiting.delete(key);
    this.waiting.set(key, requests);
    if (this.waiting.size > MAX_WAITING) this.waiting.delete(this.waiting.keys().next().value!);
    return undefined;
  }

  /** The request that a message answers; responses come in the order of the requests (RFC 9112 §9.3.2). */
  private answered(event: MessageEvent): Request | undefined {
    const key = keyOf(event);
    const requests = this.waiting.get(key);
    // 1xx: the response proper is still to come (RFC 9110 §15.2).
    if (isInterim(event.seen.message)) return requests?.[0];
    const request = requests?.shift();
    if (requests?.length === 0) this.waiting.delete(key);
    return request;
  }
}

const isInterim = (message: Message): boolean => message.kind === 'http' && message.isReply && message.code < 200;

/** The same for a request and its answer: the answer may have been seen only after translation. */
function keyOf({ node, seen: { message, client, asked } }: MessageEvent): string {
  const id = message.kind === 'dns' ? message.id : '';
  return `${node} ${client.ip}:${client.port} ${asked.ip}:${asked.port} ${message.kind}${id}`;
}

/** Values that are zero or empty are left out, as in protobuf's JSON. */
function layer7Of(message: Message, request: HttpRequest | undefined, latencyMs: number): Layer7 {
  const latency = Math.round(latencyMs * 1e6);
  const common = {
    type: message.isReply ? 'RESPONSE' : 'REQUEST',
    ...(latency > 0 && { latency_ns: String(latency) }),
  } as const;
  if (message.kind === 'dns') return { ...common, dns: dnsOf(message) };
  return { ...common, http: httpOf(message, request) };
}

function dnsOf(message: DnsMessage): NonNullable<Layer7['dns']> {
  const { name, type, addresses, aliases, ttl, rcode, answerTypes } = message;
  return {
    query: name,
    ...(addresses.length > 0 && { ips: addresses }),
    ...(ttl > 0 && { ttl }),
    ...(aliases.length > 0 && { cnames: aliases }),
    observation_source: SOURCE,
    ...(rcode > 0 && { rcode }),
    qtypes: [type],
    ...(answerTypes.length > 0 && { rrtypes: answerTypes }),
  };
}

function httpOf(message: HttpRequest | HttpResponse, request: HttpRequest | undefined): NonNullable<Layer7['http']> {
  return {
    ...(message.isReply && { code: message.code }),
    ...(request && { method: request.method, url: request.url }),
    protocol: message.version,
  };
}

function summaryOf(message: Message, request: HttpRequest | undefined, latencyMs: number): string {
  if (message.kind === 'dns') return dnsSummary(message);
  const line = request === undefined ? '' : `${request.method} ${request.url}`;
  if (!message.isReply) return `${message.version} ${line}`;
  const duration = request === undefined ? '' : ` ${Math.floor(latencyMs)}ms (${line})`;
  return `${message.version} ${message.code}${duration}`;
}

function dnsSummary({ isReply, name, type, rcode, addresses, aliases, ttl }: DnsMessage): string {
  if (!isReply) return `DNS Query ${name} ${type}`;
  const parts = [
    ...(rcode !== 0 ? [`RCode: ${RCODES[rcode] ?? rcode}`] : []),
    ...(addresses.length > 0 ? [`"${addresses.join(',')}"`] : []),
    ...(aliases.length > 0 ? [`CNAMEs: "${aliases.join(',')}"`] : []),
    `TTL: ${ttl} (Query ${name} ${type})`,
  ];
  return `DNS Answer ${parts.join(' ')}`;
}
