/** Offload headers: one that the reader accepts is within the frame, and is written back as it was understood. */
import { FRAME_AT } from '../../../../native-free-dataplane/dataplane.ts';
import { Packet } from '../../../../native-free-dataplane/packet.ts';
import { readVnetHeader, writeVnetHeader } from '../../../../native-free-dataplane/wire/vnet-header.ts';
import { type Mutant, mutate, offloadHeader } from '../../frames/fuzz-mutations.ts';
import { seedFrames } from '../../fuzz-node.ts';
import { pick, type Random } from '../../seeded-random.ts';
import type { FuzzTarget } from '../target.ts';

const ROOM = 4096;
const seeds = seedFrames().filter(({ bytes }) => bytes.length < ROOM - FRAME_AT - 64);
const arena = new ArrayBuffer(2 * ROOM);
const pkt = new Packet(arena);
const again = new Packet(arena);
const UNDERSTOOD = [
  'needsChecksum',
  'checksumStart',
  'checksumOffset',
  'gsoType',
  'gsoSize',
  'outerL4',
  'innerL3',
] as const;

function one(random: Random): void {
  const { bytes, gso } = pick(random, seeds);
  pkt.bytes.set(bytes, FRAME_AT);
  const mutant: Mutant = { bytes: pkt.bytes, view: pkt.view, start: FRAME_AT, end: FRAME_AT + bytes.length };
  if (random.below(2) === 0) mutate(mutant, random, seeds, ROOM);
  const headerBytes = random.below(2) === 0 ? 12 : 24;
  const at = mutant.start - headerBytes;
  offloadHeader(mutant, at, random, gso, headerBytes);
  pkt.reset(mutant.start, mutant.end, 1);
  if (!readVnetHeader(pkt.view, at, headerBytes, pkt)) return;
  if (pkt.needsChecksum !== 0 && pkt.checksumStart + pkt.checksumOffset + 2 > mutant.end) {
    throw new Error(`checksum at ${pkt.checksumStart} + ${pkt.checksumOffset} of a frame that ends at ${mutant.end}`);
  }
  if (pkt.gsoType !== 0 && (pkt.gsoSize === 0 || pkt.headersEnd > mutant.end)) {
    throw new Error(`segments of ${pkt.gsoSize} bytes behind ${pkt.headersEnd}, the frame ends at ${mutant.end}`);
  }
  writeVnetHeader(pkt.view, at, headerBytes, pkt);
  again.reset(mutant.start, mutant.end, 1);
  if (!readVnetHeader(pkt.view, at, headerBytes, again)) throw new Error('the header written back is refused');
  for (const field of UNDERSTOOD) {
    if (pkt[field] !== again[field]) throw new Error(`${field} ${pkt[field]} is written back as ${again[field]}`);
  }
}

export const target: FuzzTarget = {
  name: 'virtio-headers',
  unit: 'frames',
  run(random: Random): number {
    const frames = 1 + random.below(64);
    for (let index = 0; index < frames; index++) one(random);
    return frames;
  },
};
