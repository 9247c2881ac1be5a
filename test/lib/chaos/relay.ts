/**
 * A relay between two TAPs of one namespace that loses, repeats, reorders and damages frames, reproducibly: kernels of test
 * machines lack netem. It ends when standard input ends.
 *
 *   node relay.js TAP TAP SEED LOSS DUPLICATE REORDER CORRUPT     the last four in thousandths
 */
import { Epoll } from '../../../src/linux/epoll.ts';
import { mapPrivate, read, write } from '../../../src/linux/ffi.ts';
import { OffloadLevel, openTap } from '../../../src/linux/tap.ts';
import { seededRandom } from '../seeded-random.ts';

/** A reordered frame is sent after so many milliseconds. */
const HELD_MS = 5;
const MAX_FRAME = 65_536;
const BATCH = 64;

const [first = '', second = '', ...numbers] = process.argv.slice(2);
const [seed = 1, loss = 0, duplicate = 0, reorder = 0, corrupt = 0] = numbers.map(Number);
const random = seededRandom(seed);
const happens = (thousandths: number): boolean => random.below(1000) < thousandths;

// Without offloads every frame is complete, and no longer than the MTU.
const taps = [first, second].map((name) => openTap({ name, queues: 1, persist: false, offloads: OffloadLevel.NONE }));
const memory = mapPrivate(MAX_FRAME);
const bytes = new Uint8Array(memory.buffer);
const epoll = new Epoll(2);
taps.forEach(({ fds }, i) => {
  epoll.add(fds[0]!, i);
});
const held: { readonly frame: Uint8Array; readonly to: number; readonly due: number }[] = [];

function send(length: number, to: number): void {
  write(taps[to]!.fds[0]!, memory.address, length);
}

function relay(from: number): void {
  const { fds, headerBytes } = taps[from]!;
  const to = 1 - from;
  for (let n = 0; n < BATCH; n++) {
    const length = read(fds[0]!, memory.address, MAX_FRAME);
    if (length <= headerBytes) return;
    if (happens(loss)) continue;
    // Not in the Ethernet header: the frame still arrives, and its checksums have to find the damage.
    if (happens(corrupt)) bytes[headerBytes + 14 + random.below(length - headerBytes - 14)]! ^= 1 << random.below(8);
    if (happens(reorder)) {
      held.push({ frame: bytes.slice(0, length), to, due: performance.now() + HELD_MS });
      continue;
    }
    send(length, to);
    if (happens(duplicate)) send(length, to);
  }
}

function turn(): void {
  const ready = epoll.wait(1);
  for (let i = 0; i < ready; i++) relay(epoll.keyAt(i));
  for (; held.length > 0 && held[0]!.due <= performance.now(); held.shift()) {
    const { frame, to } = held[0]!;
    bytes.set(frame);
    send(frame.length, to);
  }
  setImmediate(turn);
}

process.stdin.resume().on('end', () => process.exit(0));
console.log('ready');
turn();
