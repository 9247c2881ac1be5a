/**
 * Messages of applications in captured packets: queries and answers of name servers, requests and responses of HTTP/1.
 *
 * A node captures a packet as received and as sent. The two frames together have all that a flow is to show: who the
 * client is before masquerading, what it asked for before translation, and which server got it.
 */
import { FAILED } from '../../../native-free-dataplane/verdicts.ts';
import type { CapturedPacket } from '../capture/packet.ts';
import { type DnsMessage, NAME_SERVER_PORTS, readDns } from './dns.ts';
import { HTTP_FILTER, type HttpRequest, type HttpResponse, readHttp } from './http.ts';
import { readSegment, type Segment, type SegmentEnd } from './segment.ts';

export type Message = DnsMessage | HttpRequest | HttpResponse;

export interface SeenMessage {
  readonly message: Message;
  /** TCP or UDP. */
  readonly protocol: number;
  readonly client: SegmentEnd;
  /** The endpoint that was chosen, if the client asked for a Service. */
  readonly server: SegmentEnd;
  /** The address that the client sent it to, or has the answer from. */
  readonly asked: SegmentEnd;
  /** Milliseconds since 1970. */
  readonly timeMs: number;
}

/** The longest message over UDP that is not fragmented, with the headers of an overlay. */
export const MESSAGE_SNAP_BYTES = 1600;

/** A filter for the packets that may have messages. */
export function messageFilter(http: boolean): string {
  const dns = NAME_SERVER_PORTS.map((port) => `port ${port}`).join(' or ');
  return http ? `${dns} or ${HTTP_FILTER}` : dns;
}

/** The messages of packets as one node's rings have them, by time. The frames of a packet are next to each other. */
export function readMessages(packets: readonly CapturedPacket[]): SeenMessage[] {
  const seen: SeenMessage[] = [];
  for (let first = 0; first < packets.length; ) {
    const packet = packets[first]!;
    let end = first + 1;
    while (packets[end]?.number === packet.number && packets[end]?.worker === packet.worker) end++;
    const found = messageOf(packets.slice(first, end));
    if (found !== undefined) seen.push(found);
    first = end;
  }
  // The rings of the workers are read one after the other.
  return seen.sort((a, b) => a.timeMs - b.timeMs);
}

/** Undefined: there is no message, or the packet did not arrive, which is an event of its own. */
function messageOf(frames: readonly CapturedPacket[]): SeenMessage | undefined {
  const sent = frames.find(({ point, verdict }) => point === 'sent' && FAILED[verdict] !== 1);
  if (sent === undefined) return undefined;
  const received = frames.find(({ point }) => point === 'received');
  const after = readSegment(sent.bytes);
  const before = received === undefined ? after : readSegment(received.bytes);
  if (before === undefined || after === undefined) return undefined;
  const message = readDns(before) ?? readDns(after) ?? readHttp(before);
  if (message === undefined) return undefined;
  return { message, ...endsOf(message.isReply, before, after), timeMs: sent.seconds * 1000 + sent.nanoseconds / 1e6 };
}

function endsOf(isReply: boolean, before: Segment, after: Segment): Omit<SeenMessage, 'message' | 'timeMs'> {
  const { protocol } = before;
  if (isReply) return { protocol, client: after.destination, server: before.source, asked: after.source };
  return { protocol, client: before.source, server: after.destination, asked: before.destination };
}
