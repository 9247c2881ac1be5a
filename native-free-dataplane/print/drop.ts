/** A packet that did not arrive (drops/ring.ts), with addresses as text. */
import { DropBit, DropWord } from '../drops/ring.ts';
import { formatAddress } from '../wire/address.ts';
import { hasPorts } from '../wire/ports.ts';

/** Addresses, ports and type of a packet that was parsed. */
export interface DroppedPacket {
  /** IP protocol number. */
  readonly protocol: number;
  readonly src: string;
  readonly dst: string;
  /** 0 for protocols without ports. */
  readonly srcPort: number;
  readonly dstPort: number;
  /** TCP flags byte. */
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** The endpoint, if the destination is a Service's. */
  readonly endpoint: { readonly ip: string; readonly port: number } | undefined;
  /** Number of the policy's rule that denied it; 0: none, or one that had closed the connection before. */
  readonly rule: number;
  /** Is it a reply on a tracked connection? Undefined: it belongs to no connection. */
  readonly reply: boolean | undefined;
}

export interface DropText {
  /** Number of the verdict. */
  readonly verdict: number;
  /** Low 32 bits of the monotonic milliseconds. */
  readonly timeMs: number;
  /** Port that it was received on; 0 is dp0, or the port is not known. */
  readonly inPort: number;
  /** Did it come from another node? */
  readonly tunnelled: boolean;
  /** Port whose device did not accept the frame; undefined: the packet was not sent. */
  readonly lostAt: number | undefined;
  /** Bytes of the frame; 0: not known. */
  readonly bytes: number;
  /** Undefined: dropped before its headers were known to be valid, or its bytes are gone. */
  readonly packet: DroppedPacket | undefined;
}

/** @param words a record as readDrop copies it */
export function dropText(words: Int32Array): DropText {
  const bits = words[DropWord.BITS]!;
  const seen = (bits & DropBit.RECEIVED) !== 0;
  return {
    verdict: words[DropWord.VERDICT]!,
    timeMs: words[DropWord.TIME]!,
    inPort: seen ? words[DropWord.IN_PORT]! : 0,
    tunnelled: (bits & DropBit.TUNNELLED) !== 0,
    lostAt: (bits & DropBit.SENT) !== 0 ? words[DropWord.OUT_PORT]! : undefined,
    bytes: seen ? words[DropWord.BYTES]! : 0,
    packet: (bits & DropBit.ADDRESSED) !== 0 ? packetOf(words, bits) : undefined,
  };
}

function packetOf(words: Int32Array, bits: number): DroppedPacket {
  const transport = words[DropWord.TRANSPORT]!;
  const ports = words[DropWord.PORTS]!;
  const protocol = transport & 0xff;
  const translated = (bits & DropBit.TRANSLATED) !== 0;
  return {
    protocol,
    src: formatAddress(words, DropWord.SRC),
    dst: formatAddress(words, DropWord.DST),
    srcPort: hasPorts(protocol) ? ports >>> 16 : 0,
    dstPort: hasPorts(protocol) ? ports & 0xffff : 0,
    tcpFlags: (transport >>> 8) & 0xff,
    icmpType: (transport >>> 16) & 0xff,
    icmpCode: transport >>> 24,
    rule: words[DropWord.RULE]!,
    endpoint: translated ? { ip: formatAddress(words, DropWord.NEW_DST), port: words[DropWord.NEW_PORT]! } : undefined,
    reply: (bits & DropBit.TRACKED) !== 0 ? (bits & DropBit.REPLY) !== 0 : undefined,
  };
}
