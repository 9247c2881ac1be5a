/**
 * Reads a capture file as it arrives: bytes in, in pieces of any size, frames out. It accepts all variants of pcap, and
 * pcapng, recognised by their first bytes. No I/O. Holds no more than the last piece and the block that it cut.
 *
 *     reader.push(chunk);
 *     for (let frame = reader.next(); frame !== undefined; frame = reader.next()) …
 *     reader.end();                       // then reader.damage is '' if all of it was read
 *
 * Every length is checked. A file that is truncated or damaged yields the frames before the damage, and a sentence
 * about the damage.
 */
import { type CapturedFrame, MAX_CAPTURED_BYTES } from './frame.ts';
import {
  isPcap,
  PCAP_HEADER_BYTES,
  type PcapFile,
  pcapCapturedBytes,
  readPcapHeader,
  readPcapRecord,
} from './pcap-format.ts';
import { Block } from './pcapng-format.ts';
import { PcapngReader } from './pcapng-reader.ts';

/** Bytes that identify the format. */
const MAGIC_BYTES = 4;

/** Reads one capture file, given in pieces. */
export class CaptureReader {
  /** What is wrong with the file; '' if nothing is. No frames follow damage. */
  damage = '';

  private bytes: Uint8Array = new Uint8Array(0);
  private view = new DataView(this.bytes.buffer);
  /** Next byte to read in `bytes`, and the file position of `bytes`. */
  private at = 0;
  private before = 0;
  /** Pieces that follow `bytes`, collected until the `wanted` bytes from `at` on are complete. */
  private later: Uint8Array[] = [];
  private laterBytes = 0;
  private wanted = 0;
  private pcap: PcapFile | undefined;
  private pcapng: PcapngReader | undefined;

  /**
   * Append more of the file.
   * @param chunk must not change while frames of it are in use: they are views of it
   */
  push(chunk: Uint8Array): void {
    this.later.push(chunk);
    this.laterBytes += chunk.length;
    // Joined once per block, not once per piece: otherwise many small pieces of a large block would be copied over and
    // over.
    if (this.bytes.length - this.at + this.laterBytes >= this.wanted) this.join();
  }

  private join(): void {
    const rest = this.bytes.subarray(this.at);
    this.before += this.at;
    this.at = 0;
    if (rest.length === 0 && this.later.length === 1) this.bytes = this.later[0];
    else {
      const joined = new Uint8Array(rest.length + this.laterBytes);
      joined.set(rest);
      let at = rest.length;
      for (const piece of this.later) {
        joined.set(piece, at);
        at += piece.length;
      }
      this.bytes = joined;
    }
    this.later = [];
    this.laterBytes = 0;
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  /** Wait for more of the file: `bytes` bytes from `at` on are needed. */
  private wait(bytes: number): undefined {
    this.wanted = bytes;
    return undefined;
  }

  /** The next complete frame; undefined if more of the file is needed, or nothing more can be read. */
  next(): CapturedFrame | undefined {
    while (this.damage === '') {
      if (this.pcapng) {
        const bytes = this.pcapng.blockBytes(this.view, this.at, this.bytes.length);
        if (typeof bytes === 'string') return this.fail(bytes);
        if (bytes === 0) return this.wait(this.bytes.length - this.at + 1);
        if (bytes > this.bytes.length - this.at) return this.wait(bytes);
        const frame = this.pcapng.readBlock(this.bytes, this.view, this.at, bytes);
        if (typeof frame === 'string') return this.fail(frame);
        this.at += bytes;
        if (frame) return frame;
      } else if (this.pcap) {
        return this.nextRecord(this.pcap);
      } else if (!this.recognise()) {
        return undefined;
      }
    }
    return undefined;
  }

  /** End of the file: any bytes left over are damage. */
  end(): void {
    if (this.damage !== '') return;
    if (this.later.length > 0) this.join();
    if (this.pcap === undefined && this.pcapng === undefined) this.damage = 'too short for a capture file';
    else if (this.at < this.bytes.length) this.fail('the file ends in the middle of a record');
  }

  private nextRecord(file: PcapFile): CapturedFrame | undefined {
    const room = this.bytes.length - this.at;
    if (room < file.recordBytes) return this.wait(file.recordBytes);
    const captured = pcapCapturedBytes(this.view, this.at, file);
    if (captured > MAX_CAPTURED_BYTES) return this.fail(`record of ${captured} bytes`);
    if (captured > room - file.recordBytes) return this.wait(file.recordBytes + captured);
    const frame = readPcapRecord(this.bytes, this.view, this.at, file);
    this.at += file.recordBytes + captured;
    return frame;
  }

  /** Detect the format. False if that is not possible yet, or not at all. */
  private recognise(): boolean {
    const room = this.bytes.length;
    if (room < MAGIC_BYTES) return false;
    if (this.view.getUint32(0) === Block.SECTION) {
      this.pcapng = new PcapngReader();
      return true;
    }
    if (!isPcap(this.view, 0)) {
      this.fail('neither pcap nor pcapng');
      return false;
    }
    if (room < PCAP_HEADER_BYTES) return false;
    const file = readPcapHeader(this.view, 0);
    if (typeof file === 'string') {
      this.fail(file);
      return false;
    }
    this.pcap = file;
    this.at = PCAP_HEADER_BYTES;
    return true;
  }

  private fail(what: string): undefined {
    this.damage = `${what} at byte ${this.before + this.at}`;
    return undefined;
  }
}
