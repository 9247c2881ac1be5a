/**
 * The current external port of a source: an index of translated connections by their source, for endpoint-independent
 * mapping. A socket's new connection gets the port of its last one, whatever its destination (RFC 4787 REQ-1, RFC 5382
 * REQ-1; linux nf_nat_core.c find_appropriate_src).
 *
 * The index is a hint: one word per slot (tag | record + 1), newer connections overwrite older ones, and the record is
 * compared with the source before its port is used. Only connections whose port was translated are entered. A removed
 * record still counts until it would have expired or is reused, so connections keep their ports after the table was
 * flushed.
 */
import { hashAddress, hashWord } from '../shared/hash.ts';
import { type Conntrack, MAPPING_MASK, Rec, recordAt, Status } from './record.ts';
import { tuplePortsAt } from './tuple.ts';

/** Key positions for hashing a source (shared/hash.ts): ones that no IPv4 tuple uses. */
const ADDRESS_POSITION = 4;
const PORT_POSITION = 8;

const TAG_MASK = 0xff000000 | 0;
const RECORD_MASK = 0x00ffffff;

/** Keyed hash of a source. @param src four words @param port source port, or ICMP identifier */
export function hashSource(table: Conntrack, src: Int32Array, port: number, protocol: number): number {
  const address = hashAddress(table.hash, ADDRESS_POSITION, src[0], src[1], src[2], src[3]);
  return address ^ hashWord(table.hash, PORT_POSITION, (port << 16) | protocol);
}

/**
 * External port of a connection with the source, protocol and translated address of the one at word `at`; -1 if none is
 * known. @param hash hashSource of that connection
 */
export function findMapping(table: Conntrack, at: number, hash: number, nowMs: number): number {
  const { words, mappings, addressWords, tupleWords } = table;
  const entry = mappings[hash & MAPPING_MASK];
  if ((entry & RECORD_MASK) === 0 || ((entry ^ hash) & TAG_MASK) !== 0) return -1;
  const other = recordAt(table, (entry & RECORD_MASK) - 1);
  if (((words[other + Rec.META] ^ words[at + Rec.META]) & 0xff0000) !== 0) return -1;
  if ((words[other + Rec.META] & Status.SNAT) === 0) return -1;
  if (((words[other + Rec.EXPIRES] - (nowMs | 0)) | 0) <= 0) return -1;
  const source = Rec.TUPLES;
  const translated = Rec.TUPLES + tupleWords + addressWords;
  for (let i = 0; i < addressWords; i++) {
    if (words[other + source + i] !== words[at + source + i]) return -1;
    if (words[other + translated + i] !== words[at + translated + i]) return -1;
  }
  const ports = tuplePortsAt(table, Rec.TUPLES);
  if (words[other + ports] >>> 16 !== words[at + ports] >>> 16) return -1;
  return words[other + ports + tupleWords] & 0xffff;
}

/** Enter a connection as the newest of its source. @param hash hashSource of the connection */
export function noteMapping(table: Conntrack, record: number, hash: number): void {
  table.mappings[hash & MAPPING_MASK] = (hash & TAG_MASK) | (record + 1);
}
