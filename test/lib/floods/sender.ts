/**
 * Sends frames from random sources outside, through a TAP of its own in the outside's namespace, at a fixed rate. It ends when
 * standard input ends, and prints how many it has sent.
 *
 *   sender.js TAP RATE TEXT MAC      TEXT: a frame (frames/frame-text.ts); MAC: of the node's device
 */
import { Epoll } from '../../../src/linux/epoll.ts';
import { mapPrivate, write } from '../../../src/linux/ffi.ts';
import { OffloadLevel, openTap } from '../../../src/linux/tap.ts';
import { repairChecksums } from '../frames/frame-residue.ts';
import { frame } from '../frames/frame-text.ts';
import { seededRandom } from '../seeded-random.ts';

const [name = '', rate = '0', text = '', dstMac = ''] = process.argv.slice(2);
const SOURCE_MAC = '02:00:00:00:0f:0f';
const ETHERNET_BYTES = 14;
/** Sources: 198.18.0.0/15, for benchmarks (RFC 2544). */
const SOURCES = 0xc612_0000;
const SOURCES_MASK = 0x0001_ffff;
/** Frames at once, before others get the processor. */
const BURST = 64;

const { fds, headerBytes } = openTap({ name, queues: 1, persist: false, offloads: OffloadLevel.NONE });
const fd = fds[0]!;
const template = frame(text, { srcMac: SOURCE_MAC, dstMac });
const memory = mapPrivate(4096);
const bytes = new Uint8Array(memory.buffer);
const view = new DataView(memory.buffer, headerBytes);
const random = seededRandom(1);
bytes.set(template, headerBytes);
const length = headerBytes + template.length;
const l4 = ETHERNET_BYTES + 20;
const hasPorts = [6, 17].includes(view.getUint8(ETHERNET_BYTES + 9));

let sent = 0;
let startMs = 0;

function sendOne(): void {
  view.setUint32(ETHERNET_BYTES + 12, (SOURCES | (random.word() & SOURCES_MASK)) >>> 0);
  view.setUint16(ETHERNET_BYTES + 4, random.word() & 0xffff);
  if (hasPorts) view.setUint16(l4, 1024 + random.below(60_000));
  repairChecksums(view, ETHERNET_BYTES, template.length, true, false);
  write(fd, memory.address, length);
  sent++;
}

const idle = new Epoll(1);

function turn(): void {
  const due = Math.floor(((performance.now() - startMs) * Number(rate)) / 1000);
  for (let n = 0; sent < due && n < BURST; n++) sendOne();
  if (sent >= due) idle.wait(1);
  setImmediate(turn);
}

process.stdin.once('data', () => {
  startMs = performance.now();
  turn();
});
process.stdin.on('end', () => {
  console.log(String(sent));
  process.exit(0);
});
console.log('ready');
