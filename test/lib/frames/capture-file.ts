/** Complete capture files for tests: bytes in, all frames out, and vice versa. */
import { type CapturedFrame, LINKTYPE_ETHERNET } from '../../../native-free-dataplane/capture/frame.ts';
import { pcapHeader, pcapRecord } from '../../../native-free-dataplane/capture/pcap-format.ts';
import { CaptureReader } from '../../../native-free-dataplane/capture/reader.ts';
import { concat } from './frame-builder.ts';

export interface Capture {
  readonly frames: CapturedFrame[];
  readonly damage: string;
}

/** All frames of a file that is passed to the reader in pieces of `chunkBytes`. */
export function readCapture(file: Uint8Array, chunkBytes: number = file.length || 1): Capture {
  const reader = new CaptureReader();
  const frames: CapturedFrame[] = [];
  for (let at = 0; at < file.length; at += chunkBytes) {
    reader.push(file.subarray(at, at + chunkBytes));
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  }
  reader.end();
  return { frames, damage: reader.damage };
}

/** A classic pcap file of Ethernet frames. */
export function writeCapture(frames: readonly Pick<CapturedFrame, 'bytes' | 'seconds' | 'nanoseconds'>[]): Uint8Array {
  return concat(
    pcapHeader(LINKTYPE_ETHERNET),
    ...frames.map(({ bytes, seconds, nanoseconds }) => pcapRecord(bytes, seconds, nanoseconds)),
  );
}
