/**
 * Captured frames as a pcapng file: each port is an interface, described when its first frame is written. Names of pods
 * and Services are in the name resolution block behind the section header.
 */
import { Direction, LINKTYPE_ETHERNET } from '../../../native-free-dataplane/capture/frame.ts';
import {
  pcapngInterface,
  pcapngNames,
  pcapngPacket,
  pcapngSection,
  pcapngStatistics,
} from '../../../native-free-dataplane/capture/pcapng-writer.ts';
import { MAX_WORKERS } from '../../../native-free-dataplane/shared/layout.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { replayComments } from '../replay/recording.ts';
import type { Names } from '../trace/names.ts';
import { commentsOf } from './describe.ts';
import type { CapturedPacket } from './packet.ts';
import type { PortIdentity } from './ports.ts';

/** Type of epb_verdict: none of those that the specification assigns. The value is the number of our verdict. */
const VERDICT_TYPE = 255;
const WORD = 2 ** 32;

export interface StreamOptions {
  readonly nodes: readonly string[];
  readonly snapBytes: number;
  readonly filter: string;
  /** Write what `dataplane replay` needs as comments of the frames. */
  readonly replayed?: boolean;
  readonly version: string;
}

/** The number of a packet among those of all nodes and workers, exact below 2^53. */
function packetIdOf({ node, worker, number }: CapturedPacket, nodes: readonly string[]): number {
  return (nodes.indexOf(node) * MAX_WORKERS + worker) * WORD + number;
}

interface Interface {
  readonly number: number;
  captured: number;
  lost: number;
}

export class PcapngStream {
  private readonly options: StreamOptions;
  private readonly interfaces = new Map<PortIdentity, Interface>();

  constructor(options: StreamOptions) {
    this.options = options;
  }

  /** The blocks at the start of the file. */
  begin(names: Names): Uint8Array[] {
    const section = pcapngSection({ application: `dataplane ${this.options.version}`, os: 'Linux' });
    const known = namesOf(names);
    return known.length === 0 ? [section] : [section, pcapngNames(known)];
  }

  packet(packet: CapturedPacket, port: PortIdentity, names: Names): Uint8Array[] {
    const blocks: Uint8Array[] = [];
    let source = this.interfaces.get(port);
    if (source === undefined) {
      const { snapBytes, filter } = this.options;
      source = { number: this.interfaces.size, captured: 0, lost: 0 };
      this.interfaces.set(port, source);
      const { name, description } = port;
      blocks.push(pcapngInterface({ linkType: LINKTYPE_ETHERNET, name, description, snapBytes, filter }));
    }
    source.captured++;
    source.lost += packet.lostBefore;
    const { bytes, originalBytes, seconds, nanoseconds, lostBefore } = packet;
    const options = {
      flags: packet.point === 'sent' ? Direction.OUTBOUND : Direction.INBOUND,
      packetId: packetIdOf(packet, this.options.nodes),
      queue: packet.worker,
      verdicts: [{ type: VERDICT_TYPE, bytes: Uint8Array.of(packet.verdict) }],
      comments: [...commentsOf(packet, port, names), ...(this.options.replayed ? replayComments(packet) : [])],
      ...(lostBefore > 0 && { dropCount: lostBefore }),
    };
    blocks.push(pcapngPacket(bytes, { source: source.number, seconds, nanoseconds, originalBytes, options }));
    return blocks;
  }

  /**
   * The blocks at the end of the file: statistics of each interface.
   * @param lostAt frames lost at a port after its last captured frame, or in all of the capture
   */
  end(lostAt: (port: PortIdentity) => number): Uint8Array[] {
    const nowMs = Date.now();
    const at = { seconds: Math.floor(nowMs / 1000), nanoseconds: (nowMs % 1000) * 1e6 };
    return [...this.interfaces].map(([port, { number, captured, lost }]) => {
      const dropped = Math.max(lost, lostAt(port));
      return pcapngStatistics({ source: number, ...at, received: captured + dropped, dropped });
    });
  }
}

/** Names of addresses as Wireshark displays them: `mc3.default`, `web.default.svc`, `n1`. */
function namesOf({ objects }: Names): { address: Uint8Array; name: string }[] {
  const { pods, services, nodes } = objects;
  const named: [ip: string | undefined, name: string][] = [
    ...pods
      .filter(({ spec }) => !spec.hostNetwork)
      .map(({ metadata, status }): [string | undefined, string] => [
        status?.podIP,
        `${metadata.name}.${metadata.namespace ?? 'default'}`,
      ]),
    ...services.map(({ metadata, spec }): [string | undefined, string] => [
      spec.clusterIP,
      `${metadata.name}.${metadata.namespace ?? 'default'}.svc`,
    ]),
    ...nodes.map((node): [string | undefined, string] => [internalIpOf(node), node.metadata.name ?? '']),
  ];
  return named.flatMap(([ip, name]) => {
    if (ip === undefined || !/^[\d.]+$/.test(ip) || name === '') return [];
    const word = addressWords(ip)[3] as number;
    return [{ address: Uint8Array.of(word >>> 24, word >>> 16, word >>> 8, word), name }];
  });
}
