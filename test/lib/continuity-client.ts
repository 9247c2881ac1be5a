/**
 * Watches whether a path goes on: a datagram every millisecond, and many connections that stay.
 *
 *   continuity-client.js HOST CONNECTIONS [TCP-PORT UDP-PORT]
 *
 * Prints `ready` when all connections are established. For each line on standard input it prints a line of JSON, a
 * Continuity. At the line `check` it sends one byte on every connection before, and waits for the echoes for up to a minute,
 * which an overloaded machine may need; that time does not count for datagrams.
 */
import { createSocket } from 'node:dgram';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** What has happened since the last report. */
export interface Continuity {
  /** Connections that were closed or reset, or on which no echo came at the last check. */
  readonly lost: number;
  /** Longest time between two echoes of datagrams, milliseconds. */
  readonly gapMs: number;
  /** When that time began, milliseconds since 1970: to be compared with logs. */
  readonly gapFrom: number;
  readonly sent: number;
  readonly echoed: number;
}

const [host = '', count = '0', tcpPort = '7100', udpPort = '7101'] = process.argv.slice(2);
const CONCURRENT = 50;
const ECHO_MS = 60_000;
const SERVER_MS = 10_000;
const RETRY_MS = 100;

let gapMs = 0;
let gapFromMs = 0;
let sent = 0;
let echoed = 0;
let lastMs = 0;
const udp = createSocket('udp4');
udp.on('message', () => {
  const nowMs = performance.now();
  if (lastMs > 0 && nowMs - lastMs > gapMs) {
    gapMs = nowMs - lastMs;
    gapFromMs = lastMs;
  }
  lastMs = nowMs;
  echoed++;
});
udp.on('error', () => {});

const alive = new Set<Socket>();
const waiting = new Set<Socket>();
let answered: () => void = () => {};

function open(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(tcpPort), host);
    socket.once('connect', () => {
      alive.add(socket);
      resolve();
    });
    socket.on('data', () => {
      waiting.delete(socket);
      if (waiting.size === 0) answered();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      alive.delete(socket);
      waiting.delete(socket);
      if (waiting.size === 0) answered();
    });
  });
}

function report(): Continuity {
  const lost = Number(count) - alive.size;
  const gapFrom = Math.round(performance.timeOrigin + gapFromMs);
  const result = { lost, gapMs: Math.round(gapMs * 10) / 10, gapFrom, sent, echoed };
  gapMs = 0;
  sent = 0;
  echoed = 0;
  return result;
}

async function check(): Promise<Continuity> {
  const before = report();
  for (const socket of alive) {
    waiting.add(socket);
    socket.write('.');
  }
  await new Promise<void>((resolve) => {
    answered = resolve;
    if (waiting.size === 0) resolve();
    setTimeout(resolve, ECHO_MS).unref();
  });
  for (const socket of waiting) {
    alive.delete(socket);
    socket.destroy();
  }
  waiting.clear();
  report();
  lastMs = 0;
  return { ...before, lost: Number(count) - alive.size };
}

// The server may be starting.
for (let triedMs = 0; ; triedMs += RETRY_MS) {
  try {
    await open();
    break;
  } catch (error) {
    if (triedMs >= SERVER_MS) throw error;
    await sleep(RETRY_MS);
  }
}
let left = Number(count) - 1;
const openOthers = async (): Promise<void> => {
  while (left-- > 0) await open();
};
await Promise.all(Array.from({ length: CONCURRENT }, openOthers));
const startMs = performance.now();
let due = 0;
udp.bind(() => {
  setInterval(() => {
    // As many as are due: a timer may be late.
    for (const now = performance.now() - startMs; due < now; due++) {
      udp.send('.', Number(udpPort), host);
      sent++;
    }
  }, 1);
});
console.log('ready');
for await (const line of createInterface(process.stdin)) {
  console.log(JSON.stringify(line === 'check' ? await check() : report()));
}
