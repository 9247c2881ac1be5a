/**
 * Checks every frame a node sends as a strict receiver would, and compares the packet before and after: lengths,
 * headers, offload header, destination, and that a translation kept the checksum exactly as right or wrong as it was.
 */
import type { Emitter } from '../../../native-free-dataplane/dataplane.ts';
import { HopWord, NodeWord } from '../../../native-free-dataplane/node/config.ts';
import { HopKind, hopAt, hopKind, tunnelPort } from '../../../native-free-dataplane/node/hops.ts';
import { Packet } from '../../../native-free-dataplane/packet.ts';
import {
  readVnetHeader,
  VNET_BYTES,
  VNET_TUNNEL_BYTES,
  writeVnetHeader,
} from '../../../native-free-dataplane/wire/vnet-header.ts';
import type { TestNode } from '../test-node.ts';
import { ipv4HeaderIsRight, type Residue, residueOf } from './frame-residue.ts';

/** One sent frame, as far as the comparison needs it. */
export interface Emission {
  residue: Residue;
  protocol: number;
  icmpType: number;
  transportBytes: number;
  isFirst: boolean;
  tunnelled: boolean;
}

const NONE: Residue = { kind: 'none', value: 0 };

export class EmissionCheck implements Emitter {
  readonly emissions: Emission[] = [];
  total = 0;
  node: TestNode | undefined;
  /** What our reader makes of an offload header. */
  private again: Packet | undefined;
  private readonly saved = new Uint8Array(VNET_TUNNEL_BYTES);
  /** Called with every well-formed frame: the offset of its innermost Ethernet header. */
  onFrame: (pkt: Packet, innerStart: number) => void = () => {};

  emit(pkt: Packet): void {
    this.total++;
    const node = this.node!;
    const { view } = pkt;
    const { node: table, dataplane } = node;
    const fail = (why: string): never => {
      throw new Error(`sent to port ${pkt.outPort}: ${why}`);
    };
    if (pkt.start < VNET_TUNNEL_BYTES || pkt.end > pkt.bytes.length) fail(`bytes ${pkt.start}..${pkt.end}`);
    const kind = pkt.outPort === 0 || pkt.outPort === tunnelPort(table) ? HopKind.HOST : hopKind(table, pkt.outPort);
    if (kind !== HopKind.HOST && kind !== HopKind.POD) fail('no device');
    if (pkt.end - pkt.start < 34) fail(`${pkt.end - pkt.start} bytes`);
    const type = view.getUint16(pkt.start + 12);
    if (type === 0x0806) {
      if (pkt.end - pkt.start !== 42 || view.getUint16(pkt.start + 20) !== 2) fail('a bad ARP reply');
      this.emissions.push({
        residue: NONE,
        protocol: 0,
        icmpType: 0,
        transportBytes: 0,
        isFirst: true,
        tunnelled: false,
      });
      return;
    }
    if (type !== 0x0800) fail(`EtherType ${type.toString(16)}`);
    if ((view.getUint8(pkt.start) & 1) !== 0 || (view.getUint8(pkt.start + 6) & 1) !== 0) fail('a group MAC');
    let l3 = pkt.start + 14;
    this.checkIpv4(pkt, l3, fail);

    const headerBytes = dataplane.tunnelOffload ? VNET_TUNNEL_BYTES : VNET_BYTES;
    this.checkOffload(pkt, headerBytes, fail);

    const mtu = table.hops[hopAt(pkt.outPort) + HopWord.MTU]!;
    if (pkt.gsoType === 0 && kind === HopKind.POD && pkt.end - l3 > mtu) fail(`${pkt.end - l3} bytes over ${mtu}`);
    if (kind === HopKind.POD) this.checkPod(pkt, l3, fail);
    else if (view.getInt32(l3 + 12) === table.config[NodeWord.NODE_IP + 3]) l3 = this.innerOf(pkt, l3, fail);

    const l4 = l3 + ((view.getUint8(l3) & 15) << 2);
    if (pkt.needsChecksum !== 0 && pkt.checksumStart !== l4) fail('a pending checksum of something else');
    const protocol = view.getUint8(l3 + 9);
    this.emissions.push({
      residue: residueOf(view, l3, pkt.needsChecksum !== 0),
      protocol,
      icmpType: protocol === 1 && pkt.end > l4 ? view.getUint8(l4) : -1,
      transportBytes: pkt.end - l4,
      isFirst: (view.getUint16(l3 + 6) & 0x1fff) === 0,
      tunnelled: pkt.tunnelled !== 0,
    });
    this.onFrame(pkt, l3 - 14);
  }

  private checkIpv4(pkt: Packet, l3: number, fail: (why: string) => never): void {
    const { view } = pkt;
    const headerBytes = (view.getUint8(l3) & 15) << 2;
    if (view.getUint8(l3) >> 4 !== 4 || headerBytes < 20) fail('not IPv4');
    if (view.getUint16(l3 + 2) !== pkt.end - l3) fail(`total length ${view.getUint16(l3 + 2)}, ${pkt.end - l3} bytes`);
    if (pkt.end - l3 < headerBytes) fail('a header cut short');
    if (!ipv4HeaderIsRight(view, l3)) fail('a wrong IPv4 checksum');
    // Delivery does not decrement the TTL (RFC 1122 §3.2.1.7), and the kernel has already decremented that of packets
    // it hands over.
    const { config } = this.node!.node;
    const to = view.getInt32(l3 + 16);
    // The node itself may be a client of NodePorts by its loopback addresses.
    const isLoopback = to >>> 24 === 127;
    const delivered = isLoopback || to === config[NodeWord.NODE_IP + 3] || to === config[NodeWord.GATEWAY_IP + 3];
    const routedHere = pkt.routed !== 0 && pkt.forwarded === 0;
    if (view.getUint8(l3 + 8) === 0 && routedHere && !delivered) fail('no life left');
    const fragment = view.getUint16(l3 + 6);
    const ends = ((fragment & 0x1fff) << 3) + pkt.end - l3;
    if ((fragment & 0x1fff) !== 0 && ends > 65535) fail('a fragment beyond 65535');
  }

  /** The offload header for the device: it must be accepted by our own reader, which is as strict as the kernel. */
  private checkOffload(pkt: Packet, headerBytes: number, fail: (why: string) => never): void {
    const at = pkt.start - headerBytes;
    const { saved } = this;
    for (let i = 0; i < headerBytes; i++) saved[i] = pkt.bytes[at + i]!;
    writeVnetHeader(pkt.view, at, headerBytes, pkt);
    const { buffer } = pkt.bytes;
    if (this.again?.bytes.buffer !== buffer) this.again = new Packet(buffer as ArrayBuffer);
    const { again } = this;
    again.reset(pkt.start, pkt.end, 0);
    const accepted = readVnetHeader(pkt.view, at, headerBytes, again);
    for (let i = 0; i < headerBytes; i++) pkt.bytes[at + i] = saved[i]!;
    if (!accepted) fail('an offload header that does not fit the frame');
    if (again.gsoType !== pkt.gsoType || again.needsChecksum !== pkt.needsChecksum) fail('another offload header');
    if (pkt.needsChecksum !== 0 && pkt.checksumStart + pkt.checksumOffset + 2 > pkt.end) fail('checksum out of range');
  }

  /** A pod only gets packets for its address, from an address that is valid on a network. */
  private checkPod(pkt: Packet, l3: number, fail: (why: string) => never): void {
    const { view } = pkt;
    const { hops } = this.node!.node;
    const at = hopAt(pkt.outPort);
    const mac = view.getUint16(pkt.start) * 0x100000000 + view.getUint32(pkt.start + 2);
    if (mac !== hops[at + HopWord.MAC_HIGH]! * 0x100000000 + (hops[at + HopWord.MAC_LOW]! >>> 0)) fail('a foreign MAC');
    if (view.getInt32(l3 + 16) !== hops[at + HopWord.ADDRESS + 3]) fail('a foreign address');
    const from = view.getUint8(l3 + 12);
    if (from === 0 || from === 127 || from >= 224) fail(`a source in ${from}/8`);
  }

  /** Offset of the inner packet if this one is an overlay packet; else of the packet itself. */
  private innerOf(pkt: Packet, l3: number, fail: (why: string) => never): number {
    const { view } = pkt;
    const { config } = this.node!.node;
    const protocol = view.getUint8(l3 + 9);
    if (protocol === 4 && pkt.l3 === l3 + 20) {
      this.checkIpv4(pkt, l3 + 20, fail);
      return l3 + 20;
    }
    if (protocol !== 17 || pkt.l3 !== l3 + 50) return l3;
    const udp = l3 + 20;
    if (view.getUint16(udp + 2) !== config[NodeWord.VXLAN_PORT]) fail('another VXLAN port');
    if (view.getUint16(udp + 4) !== pkt.end - udp) fail('a wrong outer UDP length');
    if (view.getUint32(udp + 8) !== 0x08000000) fail('wrong VXLAN flags');
    if (view.getUint32(udp + 12) !== config[NodeWord.VNI]! << 8) fail('a wrong VNI');
    this.checkIpv4(pkt, l3 + 50, fail);
    return l3 + 50;
  }

  /**
   * Compare the received packet with the sent one.
   * @param before residue of the packet as received
   * @param kind the packet's outcome according to the verdict
   * @returns what is wrong, or undefined
   */
  compare(before: Residue, kind: 'answer' | 'echo' | 'forward'): string | undefined {
    const { emissions } = this;
    for (const { residue, protocol } of emissions) {
      if (kind === 'answer' && residue.kind === 'full' && residue.value !== 0)
        return `an answer, residue ${residue.value}`;
      if (kind === 'answer' && residue.kind !== 'full' && protocol !== 0) return `an answer that is ${residue.kind}`;
    }
    const first = emissions[0];
    if (kind === 'answer' || first === undefined) return undefined;
    // A pending sum may be recomputed when a super-packet is cut: correct, whatever it was before.
    const differs = (after: Residue): string | undefined =>
      before.kind === after.kind && (before.value === after.value || (after.kind === 'pending' && after.value === 0))
        ? undefined
        : `${before.kind} ${before.value} became ${after.kind} ${after.value}`;
    const isError = first.protocol === 1 && [3, 4, 11, 12].includes(first.icmpType);
    if (isError && first.residue.kind === 'full') return first.residue.value === 0 ? undefined : 'a wrong ICMP error';
    if (emissions.length === 1) {
      const completed = before.kind === 'pending' && first.residue.kind === 'full';
      if (completed) return before.value === 0 && first.residue.value !== 0 ? differs(first.residue) : undefined;
      return differs(first.residue);
    }
    if (first.residue.kind === 'part') {
      if (before.kind === 'none' || (before.kind === 'pending' && before.value !== 0)) return undefined;
      let sum = 0;
      let bytes = 0;
      let datagrams = 0;
      for (const { residue, transportBytes, isFirst } of emissions) {
        if (residue.kind !== 'part') continue;
        sum = (sum + residue.value) % 0xffff;
        bytes += transportBytes;
        if (isFirst) datagrams++;
      }
      // The datagrams of a super-packet, each of them in fragments; those that fit are whole.
      const whole = emissions.find(({ residue }) => residue.kind !== 'part' && residue.value !== 0);
      if (whole) return differs(whole.residue);
      const pseudo = first.protocol === 1 || before.kind === 'part' ? 0 : datagrams * first.protocol + bytes;
      const after: Residue = { kind: 'part', value: (sum + pseudo) % 0xffff };
      return after.value === before.value ? undefined : differs(after);
    }
    if (before.value !== 0) return undefined;
    const wrong = emissions.find(({ residue }) => residue.value !== 0 || residue.kind === 'none');
    return wrong && differs(wrong.residue);
  }
}
