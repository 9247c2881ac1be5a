/** Capture files, pcap and pcapng, valid and damaged: read as far as they are valid, the same in pieces of any size. */
import { LINKTYPE_ETHERNET, MAX_CAPTURED_BYTES } from '../../../../native-free-dataplane/capture/frame.ts';
import { pcapngPacket } from '../../../../native-free-dataplane/capture/packet-blocks.ts';
import { pcapngInterface, pcapngSection } from '../../../../native-free-dataplane/capture/pcapng-writer.ts';
import { readCapture, writeCapture } from '../../frames/capture-file.ts';
import { concat } from '../../frames/frame-builder.ts';
import { seedFrames } from '../../fuzz-node.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const seeds = seedFrames();

function validFile(random: Random): Uint8Array {
  const frames = Array.from({ length: 1 + random.below(4) }, (_, i) => ({
    bytes: pick(random, seeds).bytes.subarray(0, 200),
    seconds: 1_700_000_000 + i,
    nanoseconds: i * 1000,
  }));
  if (random.below(2) === 0) return writeCapture(frames);
  return concat(
    pcapngSection(),
    pcapngInterface({ linkType: LINKTYPE_ETHERNET, name: 'eth0' }),
    ...frames.map(({ bytes, seconds, nanoseconds }) => pcapngPacket(bytes, { source: 0, seconds, nanoseconds })),
  );
}

export const target: FuzzTarget = {
  name: 'captures',
  unit: 'files',
  run(random: Random): number {
    const whole = validFile(random);
    const file = whole.slice(0, random.below(3) === 0 ? random.below(whole.length + 1) : whole.length);
    // Lengths and magic numbers are in the first bytes of each block.
    for (let n = random.below(5); n > 0 && file.length > 0; n--) {
      file[random.below(random.below(2) === 0 ? file.length : Math.min(file.length, 120))] = random.below(256);
    }
    const { frames, damage } = readCapture(file);
    for (const { bytes, originalBytes, seconds, nanoseconds } of frames) {
      if (bytes.length > Math.min(file.length, MAX_CAPTURED_BYTES)) throw new Error(`${bytes.length} bytes of a frame`);
      if (!Number.isInteger(originalBytes) || originalBytes < 0) throw new Error(`original length ${originalBytes}`);
      if (!Number.isFinite(seconds) || !(nanoseconds >= 0 && nanoseconds < 1e9)) {
        throw new Error(`time ${seconds}.${nanoseconds}`);
      }
    }
    if (readCapture(writeCapture(frames)).frames.length !== frames.length)
      throw new Error('what was read is not written');
    const pieces = readCapture(file, 1 + random.below(40));
    if (pieces.frames.length !== frames.length || pieces.damage !== damage) {
      throw new Error(
        `in pieces: ${pieces.frames.length} frames (${pieces.damage}), at once ${frames.length} (${damage})`,
      );
    }
    return 1;
  },
};
