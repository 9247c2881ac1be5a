/**
 * Captured frames as a pcapng file: each port is an interface, described when its first frame is written. Names of pods
 * and Services are in the name resolution block behind the section header.
 */
import { Direction, LINKTYPE_ETHERNET } from '../../../native-free-dataplane/capture/frame.ts';
import { PacketBlocks } from '../../../native-free-dataplane/capture/packet-blocks.ts';
import {
  encodedComments,
  pcapngInterface,
  pcapngNames,
  pcapngSection,
  pcapngStatistics,
} from '../../../native-free-dataplane/capture/pcapng-writer.ts';
import { MAX_WORKERS } from '../../../native-free-dataplane/shared/layout.ts';
import { addressWords } from '../../../native-free-dataplane/wire/address.ts';
import { internalIpOf } from '../../api/node-identity.ts';
import { replayComments } from '../replay/recording.ts';
import type { Names } from '../trace/names.ts';
import { commentsOf, serviceOf } from './describe.ts';
import type { CapturedPacket } from './packet.ts';
import type { PortIdentity } from './ports.ts';

/** Type of epb_verdict: none of those that the specification assigns. The value is the number of our verdict. */
const VERDICT_TYPE = 255;
const VERDICT_OPTIONS = Array.from({ length: 256 }, (_, verdict) => [
  { type: VERDICT_TYPE, bytes: Uint8Array.of(verdict) },
]);
/** Comments that are kept for one port. */
const MAX_KINDS = 256;
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
  /** By what they depend on, beside the port: verdict, offload, and Service. */
  readonly comments: Map<number, Map<string, Uint8Array>>;
}

export class PcapngStream {
  private readonly options: StreamOptions;
  private readonly interfaces = new Map<PortIdentity, Interface>();
  private readonly blocks = new PacketBlocks();

  constructor(options: StreamOptions) {
    this.options = options;
  }

  /** The blocks at the start of the file. */
  begin(names: Names): Uint8Array[] {
    const section = pcapngSection({ application: `dataplane ${this.options.version}`, os: 'Linux' });
    const known = namesOf(names);
    return known.length === 0 ? [section] : [section, pcapngNames(known)];
  }

  /** The interface of a port; described in the file before its first frame. */
  private described(port: PortIdentity): Interface {
    const known = this.interfaces.get(port);
    if (known !== undefined) return known;
    const { snapBytes, filter } = this.options;
    const source: Interface = { number: this.interfaces.size, captured: 0, lost: 0, comments: new Map() };
    this.interfaces.set(port, source);
    const { name, description } = port;
    this.blocks.append(pcapngInterface({ linkType: LINKTYPE_ETHERNET, name, description, snapBytes, filter }));
    return source;
  }

  /** Add the blocks of a frame to those that `take` returns. */
  add(packet: CapturedPacket, port: PortIdentity, names: Names): void {
    const source = this.described(port);
    source.captured++;
    source.lost += packet.lostBefore;
    const { bytes, originalBytes, seconds, nanoseconds, lostBefore } = packet;
    const options = {
      flags: packet.point === 'sent' ? Direction.OUTBOUND : Direction.INBOUND,
      packetId: packetIdOf(packet, this.options.nodes),
      queue: packet.worker,
      verdicts: VERDICT_OPTIONS[packet.verdict] as (typeof VERDICT_OPTIONS)[number],
      ...(lostBefore > 0 && { dropCount: lostBefore }),
    };
    const description = { source: source.number, seconds, nanoseconds, originalBytes, options };
    this.blocks.add(bytes, description, this.commentsOf(packet, port, names, source));
  }

  /** Bytes of the blocks that have been added. */
  get length(): number {
    return this.blocks.length;
  }

  /** The blocks that have been added, until the next one is. */
  take(): Uint8Array {
    return this.blocks.take();
  }

  /** The frames of a port have few different comments: they are encoded once. */
  private commentsOf(packet: CapturedPacket, port: PortIdentity, names: Names, { comments }: Interface): Uint8Array {
    const { verdict, checksumPending, segmentBytes, deniedBy, steps } = packet;
    if (deniedBy !== undefined || steps !== undefined || this.options.replayed) {
      const replay = this.options.replayed ? replayComments(packet) : [];
      return encodedComments([...commentsOf(packet, port, names), ...replay]);
    }
    const service = serviceOf(packet, names) ?? '';
    const kind = (segmentBytes << 9) | (verdict << 1) | (checksumPending ? 1 : 0);
    let ofKind = comments.get(kind);
    if (ofKind === undefined) {
      // Super-packets may have any segment size.
      if (comments.size >= MAX_KINDS) comments.clear();
      ofKind = new Map();
      comments.set(kind, ofKind);
    }
    let encoded = ofKind.get(service);
    if (encoded === undefined) {
      encoded = encodedComments(commentsOf(packet, port, names));
      ofKind.set(service, encoded);
    }
    return encoded;
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
