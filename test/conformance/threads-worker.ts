/**
 * One worker thread of threads.test.ts: the real pipeline over tables that other threads use at the same time. It
 * executes the scenario step by step together with the others, and records the outcome of every packet.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { ARENA_BYTES, attachDataplane, type TableBuffers } from '../../native-free-dataplane/dataplane.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import { processFrame, tick } from '../../native-free-dataplane/pipeline.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { loadFrame } from '../lib/frames/load-frame.ts';
import { seededRandom } from '../lib/seeded-random.ts';

/** A packet to process: the port it comes from, its text, and the thread (-1 = all of them). */
export interface Step {
  port: number;
  text: string;
  thread: number;
}

/** Words recorded per packet and thread. */
export const SEEN_WORDS = 5;
/** Verdict, port it left by, source, destination, ports (of a query: its identifier). */
export const Seen = { VERDICT: 0, PORT: 1, SRC: 2, DST: 3, PORTS: 4 } as const;

export interface ThreadData {
  buffers: TableBuffers;
  worker: number;
  threads: number;
  /** Words: threads that have arrived, rounds begun. */
  control: SharedArrayBuffer;
  /** Outcomes recorded by each thread, SEEN_WORDS per packet. */
  seen: SharedArrayBuffer;
  rounds: Step[][];
  /** Instead of rounds: create and end connections for this long. */
  churnMs: number;
}

export interface Churn {
  packets: number;
  wrong: string[];
}

/** Milliseconds of a clock that all threads of the process share. */
export function sharedMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n) & 0x3fffffff;
}

const GATEWAY_MAC = '0a:58:0a:f4:01:01';

/** Ethernet addresses of a frame that comes from this port. */
function macsOf(port: number): { dstMac: string; srcMac?: string } {
  return port === 0 ? { dstMac: GATEWAY_MAC, srcMac: '02:00:00:00:00:09' } : { dstMac: GATEWAY_MAC };
}

function run(data: ThreadData): void {
  const { worker, threads, rounds } = data;
  const control = new Int32Array(data.control);
  const count = rounds.reduce((sum, steps) => sum + steps.length, 0);
  const seen = new Int32Array(data.seen, worker * count * SEEN_WORDS * 4, count * SEEN_WORDS);
  const pkt = new Packet(new ArrayBuffer(ARENA_BYTES));
  let at = 0;
  const emitter = {
    emit(sent: Packet): void {
      const { view, l3, l4 } = sent;
      seen[at + Seen.PORT] = sent.outPort;
      seen[at + Seen.SRC] = view.getInt32(l3 + 12);
      seen[at + Seen.DST] = view.getInt32(l3 + 16);
      seen[at + Seen.PORTS] = sent.protocol === 1 ? view.getUint16(l4 + 4) : view.getInt32(l4);
    },
  };
  const features = { tunnelOffload: true, udpSegmentation: true };
  const dp = attachDataplane(data.buffers, worker, emitter, features, worker * 77 + 5);
  const frames = rounds.map((steps) => steps.map(({ port, text }) => frame(text, macsOf(port))));

  const meet = (): void => {
    const round = Atomics.load(control, 1);
    if (Atomics.add(control, 0, 1) + 1 === threads) {
      Atomics.store(control, 0, 0);
      Atomics.add(control, 1, 1);
      Atomics.notify(control, 1);
      return;
    }
    for (let spin = 0; spin < 3000; spin++) if (Atomics.load(control, 1) !== round) return;
    while (Atomics.load(control, 1) === round) Atomics.wait(control, 1, round, 50);
  };

  let base = 0;
  rounds.forEach((steps, round) => {
    meet();
    const now = sharedMs();
    for (let i = 0; i < steps.length; i++) {
      const { port, thread } = steps[i]!;
      if (thread >= 0 && thread % threads !== worker) continue;
      loadFrame(pkt, frames[round]![i]!, port);
      at = (base + i) * SEEN_WORDS;
      seen[at + Seen.VERDICT] = processFrame(pkt, dp, now);
    }
    base += steps.length;
  });
  meet();
  parentPort!.postMessage('done');
}

/** Packets each thread sends at least. */
const CHURN_PACKETS = 1000;

/**
 * Clients that come and go in a table too small for them, at random on all threads. Whatever the other threads do, a
 * packet may only go to its own destination, with its own source.
 */
function churn(data: ThreadData): void {
  const { worker, churnMs } = data;
  const random = seededRandom(1000 + worker);
  const pkt = new Packet(new ArrayBuffer(ARENA_BYTES));
  const sent = { port: -1, src: 0, dst: 0, ports: 0 };
  const emitter = {
    emit(packet: Packet): void {
      const { view, l3, l4 } = packet;
      sent.port = packet.outPort;
      sent.src = view.getInt32(l3 + 12);
      sent.dst = view.getInt32(l3 + 16);
      sent.ports = view.getInt32(l4);
    },
  };
  const dp = attachDataplane(data.buffers, worker, emitter, { tunnelOffload: true, udpSegmentation: true }, worker + 1);
  const address = (pod: number): number => 0x0af40100 + 1 + pod;
  // Frames are built once; ports are inserted without updating the checksum, which is not verified.
  const ask = [1, 2].map((pod) => frame(`udp 10.244.1.${pod + 1}:1 > 10.96.0.10:53 len 8`));
  const answer = [3, 4].map((pod) =>
    [1, 2].map((to) => frame(`udp 10.244.1.${pod + 1}:5353 > 10.244.1.${to + 1}:1 len 8`)),
  );
  const result: Churn = { packets: 0, wrong: [] };
  const fail = (what: string): void => {
    if (result.wrong.length < 5) result.wrong.push(what);
  };
  const end = sharedMs() + churnMs;
  // On a busy machine a thread may hardly run in that time: every thread sends a minimum in any case.
  for (let now = sharedMs(); now < end || result.packets <= CHURN_PACKETS; now = sharedMs()) {
    for (let i = 0; i < 16; i++) {
      const pod = 1 + random.below(2);
      const port = 1024 + random.below(3000);
      const bytes = ask[pod - 1]!;
      new DataView(bytes.buffer, bytes.byteOffset).setUint16(34, port);
      loadFrame(pkt, bytes, pod);
      sent.port = -1;
      processFrame(pkt, dp, now);
      result.packets++;
      if (sent.port < 0) continue;
      const text = `${sent.port}: ${(sent.src >>> 0).toString(16)} > ${(sent.dst >>> 0).toString(16)}`;
      if (sent.src !== address(pod) || (sent.port !== 3 && sent.port !== 4) || sent.dst !== address(sent.port))
        fail(`asked by pod ${pod}, sent to ${text}`);
      const endpoint = sent.port;
      const back = answer[endpoint - 3]?.[pod - 1];
      if (!back) continue;
      new DataView(back.buffer, back.byteOffset).setUint16(36, sent.ports >>> 16);
      loadFrame(pkt, back, endpoint);
      sent.port = -1;
      processFrame(pkt, dp, now);
      result.packets++;
      if (sent.port >= 0 && (sent.port !== pod || sent.dst !== address(pod)))
        fail(`answered to pod ${pod}, sent to ${sent.port}: ${(sent.dst >>> 0).toString(16)}`);
    }
    tick(dp, now);
  }
  parentPort!.postMessage(result);
}

const data = workerData as ThreadData;
if (data.churnMs > 0) churn(data);
else run(data);
