/**
 * Both directions of a TCP connection processed by two worker threads at the same time: the tracker must reach the same
 * result as if one thread had processed them all. One thread plays the clients, one the servers, in rounds; packets
 * within a round are unordered, as on two cores.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Rec, recordAt, StateWord, Status } from '../../native-free-dataplane/conntrack/record.ts';
import { TCP_STATE_NAMES } from '../../native-free-dataplane/conntrack/tcp/states.ts';
import { tcpState } from '../../native-free-dataplane/conntrack/tcp/tracker.ts';
import { ARENA_BYTES, attachDataplane, type TableBuffers } from '../../native-free-dataplane/dataplane.ts';
import { Packet } from '../../native-free-dataplane/packet.ts';
import { processFrame } from '../../native-free-dataplane/pipeline.ts';
import { conntrackFaults } from '../lib/conntrack-check.ts';
import { frame } from '../lib/frames/frame-text.ts';
import { loadFrame } from '../lib/frames/load-frame.ts';
import { TestNode } from '../lib/test-node.ts';

const CONNECTIONS = 400;
const ROUNDS = 60;
const FIRST_PORT = 20_000;
const [A, B] = ['10.244.1.2', '10.244.1.3'];
const NOW_MS = 100_000;

interface ThreadData {
  buffers: TableBuffers;
  control: SharedArrayBuffer;
  side: number;
}

/** Packets of a side: data in every round, then FIN, then the last acknowledgement. */
function lines(side: number, port: number): string[] {
  const way = side === 0 ? `${A}:${port} > ${B}:80` : `${B}:80 > ${A}:${port}`;
  const packets: string[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    // Acknowledges what the other side sent in the previous round; its current packets are in flight.
    packets.push(`tcp ${way} PA seq ${1001 + 10 * round} ack ${1001 + 10 * round} win 60000 len 10`);
  }
  const end = 1001 + 10 * ROUNDS;
  packets.push(`tcp ${way} FA seq ${end} ack ${end} win 60000`, `tcp ${way} A seq ${end + 1} ack ${end + 1} win 60000`);
  return packets;
}

function playSide({ buffers, control, side }: ThreadData): void {
  const meeting = new Int32Array(control);
  const pkt = new Packet(new ArrayBuffer(ARENA_BYTES));
  const dp = attachDataplane(buffers, side, { emit() {} }, { tunnelOffload: true, udpSegmentation: true });
  const options = { dstMac: '0a:58:0a:f4:01:01' };
  const frames = Array.from({ length: CONNECTIONS }, (_, i) =>
    lines(side, FIRST_PORT + i).map((text) => frame(text, options)),
  );
  let invalid = 0;
  for (let round = 0; round < ROUNDS + 2; round++) {
    for (let i = 0; i < CONNECTIONS; i++) {
      // In step: neither starts a connection's turn before the other has reached it.
      const turn = 2 * (round * CONNECTIONS + i + 1);
      Atomics.add(meeting, 0, 1);
      while (Atomics.load(meeting, 0) < turn);
      loadFrame(pkt, frames[i]![round]!, 1 + side);
      if (processFrame(pkt, dp, NOW_MS) > 15) invalid++;
    }
  }
  parentPort!.postMessage(invalid);
}

if (!isMainThread) playSide(workerData as ThreadData);
else {
  test('both sides send and close at once, each direction on a thread of its own: every connection ends in TIME_WAIT', async () => {
    const memory = (bytes: number): ArrayBuffer => new SharedArrayBuffer(bytes) as unknown as ArrayBuffer;
    const n = new TestNode({ workers: 2, memory }).pod('a', A!).pod('b', B!);
    n.nowMs = NOW_MS;
    for (let port = FIRST_PORT; port < FIRST_PORT + CONNECTIONS; port++) {
      n.receive('a', `tcp ${A}:${port} > ${B}:80 S seq 1000 win 60000`);
      n.receive('b', `tcp ${B}:80 > ${A}:${port} SA seq 1000 ack 1001 win 60000`);
      n.receive('a', `tcp ${A}:${port} > ${B}:80 A seq 1001 ack 1001 win 60000`);
    }
    const control = new SharedArrayBuffer(4);
    const invalid = await Promise.all(
      [0, 1].map(
        (side) =>
          new Promise<number>((resolve, reject) => {
            const data: ThreadData = { buffers: n.buffers, control, side };
            const thread = new Worker(new URL(import.meta.url), { workerData: data });
            thread.once('message', resolve);
            thread.once('error', reject);
          }),
      ),
    );
    assert.equal(invalid, [0, 0]);
    const { conntrack } = n;
    const ends: Record<string, number> = {};
    for (let record = 0; record < conntrack.state[StateWord.WATERMARK]!; record++) {
      const at = recordAt(conntrack, record);
      const assured = (conntrack.words[at + Rec.META]! & Status.ASSURED) !== 0 ? '' : ', not assured';
      const state = `${TCP_STATE_NAMES[tcpState(conntrack.words, at + Rec.TCP)]}${assured}`;
      ends[state] = (ends[state] ?? 0) + 1;
    }
    assert.equal(ends, { TIME_WAIT: CONNECTIONS });
    assert.equal(conntrackFaults(conntrack), []);
  });
  test.run();
}
