/** DNS messages in segments: what was asked, and what the answer says. RFC 1035 §4.1; over TCP §4.2.2. */
import { type Answer, decode, type Packet, type StringAnswer } from 'dns-packet';
import { PROTOCOL_TCP } from '../../../native-free-dataplane/protocols.ts';
import { DNS_PORT } from '../../api/cluster-options.ts';
import type { Segment } from './segment.ts';

/** The ports of name servers: the standard one, and that of the cluster's own, to which its Service leads. */
export const NAME_SERVER_PORTS: readonly number[] = [53, DNS_PORT];

export interface DnsMessage {
  readonly kind: 'dns';
  readonly isReply: boolean;
  /** Identifier of the query. */
  readonly id: number;
  /** The name, with its final dot. */
  readonly name: string;
  readonly type: string;
  readonly rcode: number;
  readonly addresses: readonly string[];
  readonly aliases: readonly string[];
  /** The shortest of the answers, seconds; 0: there are none. */
  readonly ttl: number;
  readonly answerTypes: readonly string[];
}

/** Bits of the header's flags. */
const RESPONSE = 0x80;
const RCODE_MASK = 0xf;
/** The length in front of a message over TCP. */
const TCP_LENGTH_BYTES = 2;

/** The message of a segment from or to a name server; over TCP, if one segment has all of it. Undefined: there is none. */
export function readDns({ protocol, payload, source, destination }: Segment): DnsMessage | undefined {
  if (!NAME_SERVER_PORTS.includes(source.port) && !NAME_SERVER_PORTS.includes(destination.port)) return undefined;
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (protocol !== PROTOCOL_TCP) return parse(bytes);
  if (bytes.length < TCP_LENGTH_BYTES) return undefined;
  const end = TCP_LENGTH_BYTES + bytes.readUInt16BE(0);
  return end > bytes.length ? undefined : parse(bytes.subarray(TCP_LENGTH_BYTES, end));
}

function parse(bytes: Buffer): DnsMessage | undefined {
  let message: Packet;
  try {
    message = decode(bytes);
  } catch {
    return undefined;
  }
  const [question] = message.questions ?? [];
  if (question === undefined) return undefined;
  const answers = message.answers ?? [];
  const ttls = answers.map((answer) => ('ttl' in answer ? (answer.ttl ?? 0) : 0));
  return {
    kind: 'dns',
    isReply: ((bytes[2] ?? 0) & RESPONSE) !== 0,
    id: message.id ?? 0,
    name: nameText(question.name),
    type: question.type,
    rcode: (message.flags ?? 0) & RCODE_MASK,
    addresses: dataOf(answers, 'A', 'AAAA'),
    aliases: dataOf(answers, 'CNAME').map(nameText),
    ttl: ttls.length === 0 ? 0 : Math.min(...ttls),
    answerTypes: [...new Set(answers.map(({ type }) => type))],
  };
}

/** The data of the answers of these types, which is text. */
function dataOf(answers: readonly Answer[], ...types: readonly string[]): string[] {
  return answers.flatMap((answer) => (types.includes(answer.type) ? [(answer as StringAnswer).data] : []));
}

/** A name with its final dot; bytes that cannot be printed as `\DDD` (RFC 1035 §5.1), so that none reaches a terminal. */
function nameText(name: string): string {
  const printed = name.replace(/[^\x21-\x7e]/g, (char) =>
    [...Buffer.from(char)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join(''),
  );
  return printed.endsWith('.') ? printed : `${printed}.`;
}
