/**
 * One node of ours and one of the kernel's, given the same packets: their output is compared byte for byte. Equalized
 * before the comparison: the TTL, which our host side leaves to the node's kernel to decrement, and packets that either
 * sends on its own (ICMP errors, resets, echo replies of the node).
 */
import { VERDICTS } from '../../../native-free-dataplane/verdicts.ts';
import { macOf } from '../../../src/net/pod-network.ts';

import { concat, ethernetFrame, viewOf } from '../frames/frame-builder.ts';
import { TestNode } from '../test-node.ts';
import type { KernelNat, Out, Side } from './nat.ts';

export const POD_A = '10.244.1.2';
export const POD_B = '10.244.1.3';
export const OUTSIDE = '198.51.100.7';
export const NODE = '172.18.0.11';
export const GATEWAY = '10.244.1.1';
/** A router on the path to the outside. */
export const ROUTER = '203.0.113.9';

const OWN_ADDRESSES: ReadonlySet<number> = new Set([0xac12000b, 0x0af40101]);
/** Verdicts to which a node of ours replies itself; the kernel's node may not (its output chain drops). */
const ANSWERED: ReadonlySet<string> = new Set(VERDICTS.flatMap((row) => (row?.class === 'answered' ? [row.name] : [])));

/** One step: packets sent together (one packet, or one datagram's fragments), and the output. */
export interface Step {
  side: Side;
  packets: readonly Uint8Array[];
  verdicts: string[];
  ours: Out[];
  kernel: Out[];
}

/** Both nodes; every lockstep has a new one of ours, and the kernel's with its connections cleared. */
export class Lockstep {
  readonly node: TestNode = new TestNode().pod('a', POD_A).pod('b', POD_B);
  private readonly kernel: KernelNat;

  constructor(kernel: KernelNat) {
    this.kernel = kernel;
    kernel.flush();
    for (const protocol of ['tcp', 'udp']) {
      const service = { name: protocol, endpoints: [`${POD_B}:8080`], nodePort: 31418 };
      this.node.service(`${protocol} 10.96.0.10:80`, service);
    }
  }

  /** The same IPv4 packets arrive at both, one after another. */
  send(side: Side, packets: readonly Uint8Array[]): Step {
    const step: Step = { side, packets, verdicts: [], ours: [], kernel: [] };
    for (const bytes of packets) {
      const { verdict, out } = this.sendOurs(side, bytes);
      step.verdicts.push(verdict);
      step.ours.push(...out);
      step.kernel.push(...this.kernel.send(side, bytes));
    }
    return step;
  }

  private sendOurs(side: Side, bytes: Uint8Array): { verdict: string; out: Out[] } {
    const { node } = this;
    const source = side === 'host' ? '02:00:00:00:00:09' : macOf(side === 'a' ? POD_A : POD_B);
    const verdict = node.receiveBytes(side, ethernetFrame(source, macOf(GATEWAY), 0x0800, bytes));
    const out: Out[] = [];
    for (const sent of node.out.splice(0)) {
      const to: Side = sent.port === 0 ? 'host' : sent.port === node.portOf('a') ? 'a' : 'b';
      const packet = sent.bytes.slice(14);
      // Delivered to the node's own sockets: the kernel's namespace sends no packet then.
      const delivered = to === 'host' && OWN_ADDRESSES.has(viewOf(packet).getUint32(16));
      if (!delivered && !ANSWERED.has(verdict)) out.push({ side: to, bytes: packet });
      if ((side === 'host') !== (to === 'host')) lowerTtl(packet);
    }
    return { verdict, out };
  }
}

/** Decrement the TTL, and nothing else: a wrong header checksum stays wrong by the same difference (RFC 1141). */
function lowerTtl(packet: Uint8Array): void {
  const view = viewOf(packet);
  packet[8] = (packet[8] ?? 0) - 1;
  const sum = view.getUint16(10) + 0x0100;
  view.setUint16(10, (sum & 0xffff) + (sum >>> 16));
}

/** Did both do the same? For a fragmented datagram: would the receiver get the same? The kernel fragments it again. */
export function agree(step: Step): boolean {
  const { ours, kernel } = step;
  if (isInFragments(step) && ours.length > 0 && kernel.length > 0) {
    const [one, two] = [reassembled(ours), reassembled(kernel)];
    return one !== undefined && two !== undefined && Buffer.from(one).equals(two);
  }
  if (ours.length !== kernel.length) return false;
  return ours.every((out, i) => {
    const other = kernel[i] as Out;
    return out.side === other.side && Buffer.from(out.bytes).equals(other.bytes);
  });
}

export function isInFragments({ packets }: Step): boolean {
  return packets.some((bytes) => bytes.length >= 20 && (viewOf(bytes).getUint16(6) & 0x3fff) !== 0);
}

/** The datagram that a receiver reassembles, undefined while it is incomplete. Fragments are in order of arrival. */
export function reassembled(outs: readonly Out[]): Uint8Array | undefined {
  const pieces = outs.map(({ bytes }) => {
    const view = viewOf(bytes);
    return { bytes, from: (view.getUint16(6) & 0x1fff) << 3, more: (view.getUint16(6) & 0x2000) !== 0 };
  });
  pieces.sort((a, b) => a.from - b.from);
  const first = pieces[0];
  if (first === undefined || first.from !== 0) return undefined;
  const header = first.bytes.slice(0, ((first.bytes[0] ?? 0) & 15) << 2);
  const parts: Uint8Array[] = [];
  let at = 0;
  let whole = false;
  for (const piece of pieces) {
    const payload = piece.bytes.subarray(((piece.bytes[0] ?? 0) & 15) << 2);
    // A duplicate.
    if (piece.from + payload.length === at && parts.at(-1)?.length === payload.length) continue;
    if (piece.from !== at || whole) return undefined;
    parts.push(payload);
    at += payload.length;
    whole = !piece.more;
  }
  if (!whole) return undefined;
  const view = viewOf(header);
  view.setUint16(2, header.length + at);
  view.setUint16(6, 0);
  view.setUint16(10, 0);
  return concat(header, ...parts);
}

/** A short name for the kind of a step, to group failures. */
export function summary({ packets, verdicts, ours, kernel }: Step): string {
  const first = packets[0] as Uint8Array;
  const l4 = ((first[0] ?? 0) & 15) << 2;
  const protocol = first[9] === 1 ? `icmp ${first[l4]}/${first[l4 + 1]}` : `protocol ${first[9]}`;
  return `${protocol} ${[...new Set(verdicts)].join(', ')}: ours ${ours.length}, kernel ${kernel.length} of ${packets.length}`;
}

/** Description of a step, for a failure. */
export function describe({ side, packets, verdicts, ours, kernel }: Step): string {
  const text = (bytes: Uint8Array): string =>
    `${bytes.length} bytes ${Buffer.from(bytes).toString('hex').slice(0, 176)}`;
  const outs = (list: readonly Out[]): string =>
    list.length === 0 ? 'nothing' : list.map((out) => `${out.side}: ${text(out.bytes)}`).join('\n          ');
  const sent = packets.map((bytes, i) => `${side}: ${text(bytes)} -> ${verdicts[i]}`).join('\n');
  return `${sent}\n  ours    ${outs(ours)}\n  kernel  ${outs(kernel)}`;
}
