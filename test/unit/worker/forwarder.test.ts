/** Turns of the forwarding loop: the real one over sockets instead of TAPs, with a substitute for the pipeline. */
import koffi from 'koffi';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataplane } from '../../../native-free-dataplane/dataplane.ts';
import type { Packet } from '../../../native-free-dataplane/packet.ts';
import { Verdict } from '../../../native-free-dataplane/verdicts.ts';
import { openNodeTables } from '../../../src/agent/tables.ts';
import { monotonicMs } from '../../../src/linux/clock.ts';
import { close, eventfd, mapPrivate, munmap, write } from '../../../src/linux/ffi.ts';
import { openShared } from '../../../src/linux/shm.ts';
import { unlinkShared } from '../../../src/linux/shm-files.ts';
import { memoryNames } from '../../../src/shm-names.ts';
import { ControlWord, controlAt, controlBytes, createControl } from '../../../src/worker/control.ts';
import { Forwarder } from '../../../src/worker/forwarder.ts';
import type { WorkerTask } from '../../../src/worker/messages.ts';

const socketpair = koffi
  .load('libc.so.6')
  .func('int socketpair(int domain, int type, int protocol, _Out_ int *fds)') as (
  domain: number,
  type: number,
  protocol: number,
  fds: [number, number],
) => number;
const AF_UNIX = 1;
const SOCK_SEQPACKET_NONBLOCK = 5 | 0o4000;
const HEADER_BYTES = 12;
const LARGE = 30_000;
const SMALL = 60;

/**
 * Frames waiting at each port when the loop starts, by size in bytes. @returns the ports in the order of their turns
 */
function turns(waiting: readonly (readonly number[])[], pieces = 1): number[] {
  const name = `test-forwarder-${process.pid}`;
  const tables = openNodeTables({
    nodeName: name,
    workers: 1,
    maxConntrack: 1024,
    nowMs: monotonicMs(),
    log: () => {},
  });
  const control = openShared(memoryNames(name).control, { bytes: controlBytes(1), create: true });
  const words = createControl(control.buffer);
  const memory = mapPrivate(HEADER_BYTES + 65_536);
  const fds: number[] = [];
  const ports = waiting.map((frames, index) => {
    const pair: [number, number] = [-1, -1];
    assert.is(socketpair(AF_UNIX, SOCK_SEQPACKET_NONBLOCK, 0, pair), 0);
    fds.push(...pair);
    for (const bytes of frames) {
      assert.is(write(pair[0], memory.address, HEADER_BYTES + bytes), HEADER_BYTES + bytes, 'the socket takes it');
    }
    return { index: index + 1, fd: pair[1], headerBytes: HEADER_BYTES };
  });
  const all = waiting.flat().length;
  const seen: number[] = [];
  const stages = {
    tick: () => 1000,
    processFrame(pkt: Packet, { emitter }: Dataplane): Verdict {
      seen.push(pkt.inPort);
      if (pkt.inPort === 1) for (let i = 0; i < pieces; i++) emitter.emit(pkt);
      if (seen.length === all) words[controlAt(0, ControlWord.RUN)] = 0;
      return Verdict.SENT;
    },
  };
  const task: WorkerTask = {
    worker: 0,
    run: 1,
    seed: 1,
    tables: memoryNames(name),
    features: { tunnelOffload: false, udpSegmentation: true },
    ports,
    changesDone: 0,
    wakeFd: eventfd(0, 0o4000),
    messages: undefined as never,
  };
  words[controlAt(0, ControlWord.RUN)] = task.run;
  const forwarder = new Forwarder(task, stages);
  try {
    forwarder.run(() => undefined);
  } finally {
    forwarder.close();
    for (const fd of [...fds, task.wakeFd]) close(fd);
    munmap(memory.address, memory.bytes);
    control.close();
    unlinkShared(memoryNames(name).control);
    tables.close(true);
  }
  return seen;
}

const many = (count: number, bytes: number): number[] => Array.from({ length: count }, () => bytes);

test('a port full of super-packets yields to another after 128 KiB', () => {
  assert.equal(turns([many(6, LARGE), [SMALL]]), [1, 1, 1, 1, 1, 2, 1]);
});

test('a port full of small frames yields after 64 of them', () => {
  assert.equal(turns([many(100, SMALL), [SMALL]]), [...many(64, 1), 2, ...many(36, 1)]);
});

test('a port whose frames are cut into hundreds yields after 256 frames sent', () => {
  assert.equal(turns([many(6, SMALL), [SMALL]], 100), [1, 1, 1, 2, 1, 1, 1]);
});

test.run();
