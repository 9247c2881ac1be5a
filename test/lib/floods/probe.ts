/**
 * One of the two pods that a flood must not disturb: sends datagrams and measures their round trips, holds connections, and
 * opens new ones all the time. The other runs continuity-server.ts.
 *
 *   probe.js HOST CONNECTIONS
 *
 * Prints `ready` when all connections are established. For each line on standard input it prints a line of JSON, a Probed.
 */
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** What has happened since the last line. */
export interface Probed {
  /** Round trips of datagrams: median and 99th percentile; one that is not over after a second counts as a second. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly held: number;
  /** Connections lost since the start. */
  readonly lost: number;
  readonly opened: number;
  readonly failed: number;
}

const [host = '', count = '0'] = process.argv.slice(2);
const TCP_PORT = 7100;
const UDP_PORT = 7101;
const UDP_EVERY_MS = 2;
const HELD_EVERY_MS = 1000;
const OPEN_EVERY_MS = 20;
/** A new connection must work within this time, which allows for two lost SYNs. */
const OPEN_WITHIN_MS = 5000;
const LATE_MS = 1000;
const START_MS = 10_000;

const sentAt = new Map<number, number>();
let trips: number[] = [];
let number = 0;
let opened = 0;
let failed = 0;
let lost = 0;
const udp = createSocket('udp4');
udp.on('error', () => {});
udp.on('message', (bytes) => {
  const its = bytes.readUInt32BE(0);
  const at = sentAt.get(its);
  if (at === undefined) return;
  sentAt.delete(its);
  trips.push(Math.min(LATE_MS, performance.now() - at));
});

function sendDatagram(): void {
  const bytes = Buffer.alloc(64);
  bytes.writeUInt32BE(number);
  sentAt.set(number++, performance.now());
  udp.send(bytes, UDP_PORT, host);
}

function countLate(): void {
  const now = performance.now();
  for (const [its, at] of sentAt) {
    if (now - at < LATE_MS) return;
    sentAt.delete(its);
    trips.push(LATE_MS);
  }
}

/** A connection that stays. */
function hold(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(TCP_PORT, host);
    let waiting = 0;
    socket.setNoDelay(true);
    socket.once('connect', () => {
      resolve();
      setInterval(() => {
        // Nothing for so many exchanges: it no longer works.
        if (waiting++ > OPEN_WITHIN_MS / HELD_EVERY_MS) socket.destroy(new Error('no answer'));
        else socket.write('.');
      }, HELD_EVERY_MS);
    });
    socket.on('data', () => {
      waiting = 0;
    });
    socket.on('error', reject);
    socket.once('close', () => lost++);
  });
}

/** A new connection, an echo, and its end. */
function open(): void {
  opened++;
  const socket: Socket = connect(TCP_PORT, host);
  const timer = setTimeout(() => socket.destroy(new Error('late')), OPEN_WITHIN_MS);
  socket.once('connect', () => socket.write('.'));
  socket.once('data', () => {
    clearTimeout(timer);
    socket.end();
  });
  socket.on('error', () => {
    clearTimeout(timer);
    failed++;
  });
}

function report(): Probed {
  countLate();
  const sorted = trips.sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round((sorted[Math.floor(sorted.length * share)] ?? LATE_MS) * 1000) / 1000;
  const result = { p50Ms: at(0.5), p99Ms: at(0.99), held: Number(count) - lost, lost, opened, failed };
  trips = [];
  opened = 0;
  failed = 0;
  return result;
}

for (let left = Number(count), triedMs = 0; left > 0; ) {
  try {
    await hold();
    left--;
  } catch (error) {
    // The server may be starting.
    lost--;
    if (triedMs >= START_MS) throw error;
    triedMs += 100;
    await sleep(100);
  }
}
udp.bind(() => setInterval(sendDatagram, UDP_EVERY_MS));
setInterval(open, OPEN_EVERY_MS);
setInterval(countLate, LATE_MS);
console.log('ready');
for await (const _ of createInterface(process.stdin)) console.log(JSON.stringify(report()));
