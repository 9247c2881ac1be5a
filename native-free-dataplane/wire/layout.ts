/**
 * Where the fields of a frame lie, header by header, for displays that show its bytes: every byte of the frame belongs to
 * one field. What follows the last known header is payload; a truncated header is payload too. Never called on the packet
 * path.
 *
 * Sources: IEEE 802.3, RFC 791 §3.1, RFC 9293 §3.1, RFC 768, RFC 792, RFC 7348 §5.
 */
import { PROTOCOL_ICMP, PROTOCOL_IPIP, PROTOCOL_TCP, PROTOCOL_UDP, protocolName } from '../protocols.ts';
import { formatIpv4 } from './address.ts';
import { ETHERNET_BYTES, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ethernetType } from './ethernet.ts';
import { ICMP_BYTES } from './icmp.ts';
import { IPV4, ipVersion } from './ip.ts';
import { IPV4_MIN_BYTES, ipv4FragmentOffset, ipv4FragmentWord, ipv4HeaderBytes, ipv4Protocol } from './ipv4.ts';
import { TCP_MIN_BYTES, tcpHeaderBytes } from './tcp.ts';
import { UDP_BYTES } from './udp.ts';
import { carriesVxlan, VXLAN_BYTES } from './vxlan.ts';

export interface PlacedField {
  readonly name: string;
  /** From the frame's start. */
  readonly at: number;
  readonly bytes: number;
  /** For people; empty if the bytes alone are as clear. */
  readonly value: string;
}

export interface PlacedHeader {
  /** `ethernet`, `ipv4`, `tcp`, … or `payload`. */
  readonly name: string;
  /** Belongs to the outer packet of a tunnel. */
  readonly outer: boolean;
  readonly at: number;
  readonly bytes: number;
  readonly fields: readonly PlacedField[];
}

const ETHERTYPES: Readonly<Record<number, string>> = {
  [ETHERTYPE_IPV4]: 'ipv4',
  [ETHERTYPE_ARP]: 'arp',
  [ETHERTYPE_IPV6]: 'ipv6',
};

/** Writes the value of a field of this length. */
type Print = (view: DataView, at: number, bytes: number) => string;
/** Name, bytes, and how to print it. Fields follow each other without gaps. */
type FieldRow = readonly [name: string, bytes: number, print: Print];

const none: Print = () => '';
const decimal: Print = (view, at, bytes) => String(wordOf(view, at, bytes));
const etherType: Print = (view, at) => ETHERTYPES[view.getUint16(at)] ?? '';
const address: Print = (view, at) => formatIpv4(view.getInt32(at));
const protocol: Print = (view, at) => protocolName(view.getUint8(at));
const flags: Print = (view, at) => flagLetters(view.getUint8(at));
const network: Print = (view, at) => String(view.getUint32(at) >>> 8);

function wordOf(view: DataView, at: number, bytes: number): number {
  return bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at) : view.getUint32(at);
}

/** From the lowest bit. */
const FLAG_LETTERS = 'FSRPAUEC';

function flagLetters(bits: number): string {
  return [...FLAG_LETTERS].filter((_, bit) => (bits >> bit) & 1).join('');
}

const ETHERNET: readonly FieldRow[] = [
  ['destination MAC', 6, none],
  ['source MAC', 6, none],
  ['type', 2, etherType],
];
const IPV4_ROWS: readonly FieldRow[] = [
  ['version, length', 1, none],
  ['DSCP, ECN', 1, none],
  ['total length', 2, decimal],
  ['identification', 2, none],
  ['flags, fragment', 2, none],
  ['TTL', 1, decimal],
  ['protocol', 1, protocol],
  ['checksum', 2, none],
  ['source', 4, address],
  ['destination', 4, address],
];
const TCP: readonly FieldRow[] = [
  ['source port', 2, decimal],
  ['destination port', 2, decimal],
  ['sequence', 4, decimal],
  ['acknowledgment', 4, decimal],
  ['header length', 1, none],
  ['flags', 1, flags],
  ['window', 2, decimal],
  ['checksum', 2, none],
  ['urgent', 2, none],
];
const UDP: readonly FieldRow[] = [
  ['source port', 2, decimal],
  ['destination port', 2, decimal],
  ['length', 2, decimal],
  ['checksum', 2, none],
];
const ICMP: readonly FieldRow[] = [
  ['type', 1, decimal],
  ['code', 1, decimal],
  ['checksum', 2, none],
  ['rest', 4, none],
];
const VXLAN: readonly FieldRow[] = [
  ['flags', 4, none],
  ['VNI', 4, network],
];

/** Reads on from a header: what comes next, and where. */
class Layout {
  readonly headers: PlacedHeader[] = [];
  private readonly view: DataView;
  private at = 0;

  constructor(view: DataView) {
    this.view = view;
  }

  get left(): number {
    return this.view.byteLength - this.at;
  }

  /** @param bytes of the header with its options @returns where it starts */
  header(name: string, rows: readonly FieldRow[], bytes: number): number {
    const start = this.at;
    const fields: PlacedField[] = [];
    for (const [field, length, print] of rows) {
      fields.push({ name: field, at: this.at, bytes: length, value: print(this.view, this.at, length) });
      this.at += length;
    }
    const options = start + bytes - this.at;
    if (options > 0) fields.push({ name: 'options', at: this.at, bytes: options, value: '' });
    this.at = start + bytes;
    this.headers.push({ name, outer: false, at: start, bytes, fields });
    return start;
  }

  /** The headers read so far are those of a tunnel. */
  makeOuter(): void {
    this.headers.splice(0, this.headers.length, ...this.headers.map((header) => ({ ...header, outer: true })));
  }

  payload(): void {
    const { at, left: bytes } = this;
    if (bytes === 0) return;
    this.headers.push({
      name: 'payload',
      outer: false,
      at,
      bytes,
      fields: [{ name: 'payload', at, bytes, value: '' }],
    });
  }

  ethernet(): void {
    if (this.left < ETHERNET_BYTES) return;
    const start = this.header('ethernet', ETHERNET, ETHERNET_BYTES);
    if (ethernetType(this.view, start) === ETHERTYPE_IPV4) this.ipv4();
  }

  private ipv4(): void {
    const { view, at } = this;
    if (this.left < IPV4_MIN_BYTES || ipVersion(view, at) !== IPV4) return;
    const bytes = ipv4HeaderBytes(view, at);
    if (bytes < IPV4_MIN_BYTES || bytes > this.left) return;
    this.header('ipv4', IPV4_ROWS, bytes);
    const number = ipv4Protocol(view, at);
    if (ipv4FragmentOffset(ipv4FragmentWord(view, at)) !== 0) return;
    if (number === PROTOCOL_IPIP) {
      this.makeOuter();
      this.ipv4();
    } else if (number === PROTOCOL_TCP) this.tcp();
    else if (number === PROTOCOL_UDP) this.udp();
    else if (number === PROTOCOL_ICMP && this.left >= ICMP_BYTES) this.header('icmp', ICMP, ICMP_BYTES);
  }

  private tcp(): void {
    const bytes = this.left < TCP_MIN_BYTES ? 0 : tcpHeaderBytes(this.view, this.at);
    if (bytes >= TCP_MIN_BYTES && bytes <= this.left) this.header('tcp', TCP, bytes);
  }

  private udp(): void {
    if (this.left < UDP_BYTES) return;
    const start = this.header('udp', UDP, UDP_BYTES);
    if (!carriesVxlan(this.view, start, this.view.byteLength)) return;
    this.header('vxlan', VXLAN, VXLAN_BYTES);
    this.makeOuter();
    this.ethernet();
  }
}

/** The headers of an Ethernet frame with their fields, outermost first. */
export function frameLayout(frame: Uint8Array): readonly PlacedHeader[] {
  const layout = new Layout(new DataView(frame.buffer, frame.byteOffset, frame.byteLength));
  layout.ethernet();
  layout.payload();
  return layout.headers;
}
