/**
 * The same conversation with a node of ours and with the kernel: equivalent packets go into each, and their output is
 * compared byte for byte. For test/e2e/nat-differential.test.ts, which lists the permitted differences.
 */
import { concat, viewOf } from '../frames/frame-builder.ts';
import { ipv4HeaderIsRight, residueOf } from '../frames/frame-residue.ts';
import { transportAt, withTtl } from '../frames/reverse-packet.ts';
import { A, B, ETHERNET } from '../nat-node.ts';
import { TestNode } from '../test-node.ts';
import type { KernelNat, Out, Side } from './nat.ts';

export const SERVER = '198.51.100.7';
export const ROUTER = Uint8Array.of(203, 0, 113, 9);
const NODE_ADDRESS = 0xac12000b;
const GATEWAY_ADDRESS = 0x0af40101;

/** A forwarder: the kernel, or a node of ours. */
export interface Forwarder {
  send(side: Side, bytes: Uint8Array): Out[];
}

class OurNode implements Forwarder {
  readonly node = new TestNode().pod('a', A).pod('b', B);
  verdict = '';

  constructor() {
    for (const protocol of ['tcp', 'udp']) {
      const service = { endpoints: [`${B}:8080`], nodePort: 31418, name: protocol };
      this.node.service(`${protocol} 10.96.0.10:80`, service);
    }
  }

  send(side: Side, bytes: Uint8Array): Out[] {
    const { node } = this;
    this.verdict = node.receiveBytes(side, concat(ETHERNET[side], bytes));
    const out: Out[] = [];
    for (const { port, bytes: frame } of node.out.splice(0)) {
      const to = port === 0 ? 'host' : port === node.portOf('a') ? 'a' : 'b';
      const sent = frame.subarray(14);
      const address = viewOf(sent).getUint32(16);
      // Delivered to the node itself: the kernel's namespace sends no packet then.
      if (to !== 'host' || (address !== NODE_ADDRESS && address !== GATEWAY_ADDRESS))
        out.push({ side: to, bytes: sent });
    }
    return out;
  }
}

/** How a conversation is translated: client, its side, destination, and the other side. */
export interface Way {
  client: Side;
  server: Side;
  src: string;
  dst: string;
  dstPort: number;
}

export const WAYS: readonly Way[] = [
  { client: 'a', server: 'b', src: A, dst: '10.96.0.10', dstPort: 80 },
  { client: 'host', server: 'b', src: SERVER, dst: '172.18.0.11', dstPort: 31418 },
  { client: 'b', server: 'b', src: B, dst: '172.18.0.11', dstPort: 31418 },
  { client: 'a', server: 'host', src: A, dst: SERVER, dstPort: 443 },
  { client: 'a', server: 'b', src: A, dst: B, dstPort: 8080 },
];

const hex = (bytes: Uint8Array | undefined): string =>
  bytes ? `${bytes.length} bytes ${Buffer.from(bytes).toString('hex').slice(0, 200)}` : 'nothing';

/** Both forwarders, and counts so far: packets, packets that both forwarded, and ports that had to be changed. */
export class Compared {
  ours = new OurNode();
  readonly kernel: KernelNat;
  readonly count = { packets: 0, passed: 0, dropped: 0, moved: 0 };

  constructor(kernel: KernelNat) {
    this.kernel = kernel;
  }

  /** Remove all connections. */
  forget(): void {
    this.kernel.flush();
    this.ours = new OurNode();
  }
}

/** The same conversation with both: the last packet each sent in either direction. */
export class Pair {
  readonly way: Way;
  readonly translated: boolean;
  readonly told: string[] = [];
  private readonly compared: Compared;

  constructor(compared: Compared, way: Way, translated: boolean = way.dst !== B) {
    this.compared = compared;
    this.way = way;
    this.translated = translated;
  }

  /** Equivalent packets go in at `side`; the output is compared. Undefined if both dropped them. */
  send(side: Side, [forOurs, forKernel]: readonly [Uint8Array, Uint8Array]): [Uint8Array, Uint8Array] | undefined {
    const { ours, kernel, count } = this.compared;
    const one = ours.send(side, forOurs);
    const two = kernel.send(side, forKernel);
    this.told.push(`${side}: ${hex(forOurs)} -> ${ours.verdict}`);
    count.packets++;
    const where = (outs: Out[]): string => outs.map((out) => out.side).join();
    if (where(one) !== where(two))
      this.fail(`ours to [${where(one)}], the kernel’s to [${where(two)}]`, one[0], two[0]);
    const [our, its] = [one[0]?.bytes, two[0]?.bytes];
    if (our === undefined || its === undefined) {
      count.dropped++;
      return undefined;
    }
    if (one.length !== 1) this.fail(`${one.length} packets`, one[0], two[0]);
    count.passed++;
    this.compare(our, its);
    return [our, its];
  }

  /** Equal except for the TTL, and for a port that had to be changed. */
  compare(our: Uint8Array, its: Uint8Array): void {
    const [a, b] = [canonical(our), canonical(its)];
    if (!a.right || !b.right) this.fail('a checksum is wrong', { bytes: our }, { bytes: its });
    if (Buffer.from(a.bytes).equals(b.bytes)) return;
    const [c, d] = [anyPort(a.bytes), anyPort(b.bytes)];
    if (portsOf(a.bytes) === portsOf(b.bytes) || !Buffer.from(c).equals(d))
      this.fail('they differ', { bytes: our }, { bytes: its });
    this.compared.count.moved++;
  }

  fail(why: string, our: { bytes: Uint8Array } | undefined, its: { bytes: Uint8Array } | undefined): never {
    const history = this.told.slice(-8).join('\n');
    throw new Error(`${why}\n ours   ${hex(our?.bytes)}\n kernel ${hex(its?.bytes)}\n${history}`);
  }
}

/** The packet with TTL 64, and whether its checksums were right. */
function canonical(bytes: Uint8Array): { bytes: Uint8Array; right: boolean } {
  const view = viewOf(bytes);
  const residue = residueOf(view, 0, false);
  let right = ipv4HeaderIsRight(view, 0) && (residue.kind === 'part' || residue.value === 0);
  const plain = withTtl(bytes, 64);
  if (isError(plain)) {
    // The quoted TTL is that of the packet as each delivered it.
    const inner = transportAt(plain) + 8;
    plain.set(withTtl(plain.subarray(inner), 64), inner);
    const whole = plain.length - inner >= view.getUint16(inner + 2);
    right &&= ipv4HeaderIsRight(view, inner) && (!whole || residueOf(view, inner, false).value === 0);
  }
  return { bytes: plain, right };
}

const isError = (bytes: Uint8Array): boolean =>
  bytes[9] === 1 &&
  [3, 4, 11, 12].includes(bytes[transportAt(bytes)] ?? 0) &&
  (viewOf(bytes).getUint16(6) & 0x1fff) === 0;

/** Ports or identifier, of the quoted packet in an error. */
function portsOf(bytes: Uint8Array): number {
  const l4 = transportAt(bytes);
  const at = isError(bytes) ? l4 + 8 + transportAt(bytes.subarray(l4 + 8)) : l4;
  const icmp = bytes[isError(bytes) ? l4 + 8 + 9 : 9] === 1;
  return viewOf(bytes).getUint32(icmp ? at + 4 : at);
}

/** The server side's ports in all conversations. */
const SERVER_PORTS: readonly number[] = [53, 80, 443, 8080, 31418];

/** Without the client side's ports and all checksums that cover them. */
function anyPort(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const view = viewOf(copy);
  const blank = (l3: number): void => {
    const l4 = l3 + ((copy[l3]! & 15) << 2);
    const protocol = copy[l3 + 9];
    if (protocol === 1) {
      view.setUint32(l4 + 2, 0);
      return;
    }
    for (const at of [l4, l4 + 2]) if (!SERVER_PORTS.includes(view.getUint16(at))) view.setUint16(at, 0);
    const field = l4 + (protocol === 6 ? 16 : 6);
    if (field + 2 <= copy.length) view.setUint16(field, 0);
  };
  if (isError(copy)) {
    const l4 = transportAt(copy);
    view.setUint16(l4 + 2, 0);
    blank(l4 + 8);
  } else blank(0);
  return copy;
}
