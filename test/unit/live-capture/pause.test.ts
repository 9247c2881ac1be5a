/** The pause of workers: they stop, they go on when it is over, and they go on alone when nobody ends it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { captureBytes, createCaptureMemory } from '../../../native-free-dataplane/live-capture/memory.ts';
import {
  beginPause,
  endPause,
  enterPause,
  hasStopped,
  isPaused,
  PAUSE_MS,
} from '../../../native-free-dataplane/live-capture/pause.ts';
import * as pipeline from '../../../native-free-dataplane/pipeline.ts';
import { monotonicMs } from '../../../src/linux/clock.ts';
import { WorkerCapture } from '../../../src/worker/capture.ts';
import { TestNode } from '../../lib/test-node.ts';

const OPTIONS = { workers: 2, ports: 4, ringBytes: 4096 };
const memoryOf = () => createCaptureMemory(new ArrayBuffer(captureBytes(OPTIONS)), OPTIONS);

test('a pause ends by itself, or before; a worker has stopped for one pause, not for the next', () => {
  const memory = memoryOf();
  assert.not(isPaused(memory, 1000));
  const first = beginPause(memory, 1000);
  assert.ok(isPaused(memory, 1000));
  assert.not(hasStopped(memory, 0, first));
  enterPause(memory, 0);
  assert.ok(hasStopped(memory, 0, first));
  assert.not(hasStopped(memory, 1, first));
  assert.not(isPaused(memory, 1000 + PAUSE_MS));
  const second = beginPause(memory, 2000);
  assert.not(hasStopped(memory, 0, second));
  endPause(memory);
  assert.not(isPaused(memory, 2000));
});

test('a worker that finds a pause stops until its time is up, although nobody ends it, and then runs the pipeline', () => {
  const memory = memoryOf();
  const capture = new WorkerCapture(memory, 1, pipeline);
  const node = new TestNode();
  const pause = beginPause(memory, monotonicMs());
  assert.ok(capture.isChanged);
  const begin = monotonicMs();
  assert.ok(capture.reload(node.dataplane) === pipeline);
  assert.ok(hasStopped(memory, 1, pause));
  const stopped = monotonicMs() - begin;
  assert.ok(stopped > 0 && stopped <= PAUSE_MS + 1000, `${stopped} ms`);
  assert.not(capture.isChanged);
});

test.run();
