/** Writes a capture to files: begins each with its section, and ends it with statistics. */
import type { Names } from '../trace/names.ts';
import { OutputFile, ringFile } from './output-file.ts';
import type { CapturedPacket } from './packet.ts';
import { PcapngStream, type StreamOptions } from './pcapng-stream.ts';
import type { PortIdentity } from './ports.ts';

export interface FileRing {
  readonly files: number;
  /** Size from which the next file is begun. */
  readonly bytes: number;
}

export interface RecordingOptions extends StreamOptions {
  /** Path, or '-' for standard output. */
  readonly path: string;
  readonly ring: FileRing | undefined;
}

/** What is written at once. */
const WRITE_BYTES = 1 << 20;
const NOTHING_LOST = (): number => 0;

export class Recording {
  private readonly options: RecordingOptions;
  private file: OutputFile;
  private stream: PcapngStream;
  private number = 1;

  /** @throws Error with the path that cannot be written */
  constructor(options: RecordingOptions, names: Names) {
    this.options = options;
    this.file = new OutputFile(options.ring ? ringFile(options.path, 1) : options.path);
    this.stream = new PcapngStream(options);
    this.file.write(this.stream.begin(names));
  }

  /** @throws OutputClosed, or Error of write(2) */
  write(packets: readonly CapturedPacket[], portOf: (packet: CapturedPacket) => PortIdentity, names: Names): void {
    const { ring } = this.options;
    for (const packet of packets) {
      this.stream.add(packet, portOf(packet), names);
      const { length } = this.stream;
      const isFull = ring !== undefined && this.file.bytes + length >= ring.bytes;
      if (isFull || length >= WRITE_BYTES) this.file.write([this.stream.take()]);
      if (isFull) this.next(ring, names);
    }
    if (this.stream.length > 0) this.file.write([this.stream.take()]);
  }

  private next({ files }: FileRing, names: Names): void {
    this.close(NOTHING_LOST);
    this.number = (this.number % files) + 1;
    this.file = new OutputFile(ringFile(this.options.path, this.number));
    this.stream = new PcapngStream(this.options);
    this.file.write(this.stream.begin(names));
  }

  /** @param lostAt frames lost at each port in the whole capture */
  close(lostAt: (port: PortIdentity) => number): void {
    this.file.write(this.stream.end(lostAt));
    this.file.close();
  }
}
