/** The stream of updates: bounds on readers, flows and memory. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LiveModel } from '../../../src/ui/live-model.ts';
import type { Update } from '../../../src/ui/protocol.ts';
import { MAX_READERS, Streams } from '../../../src/ui/server/streams.ts';
import { flow, TWO_NODES } from '../../lib/ui-fixture.ts';

/** A connection whose reader takes what is written, or leaves it. */
class FakeResponse extends EventEmitter {
  status = 0;
  readonly updates: Update[] = [];
  writableLength = 0;
  text = '';
  destroyed = false;

  writeHead(status: number): void {
    this.status = status;
  }
  write(text: string): void {
    this.updates.push(JSON.parse(text.replace(/^data: /, '')) as Update);
  }
  end(text = ''): void {
    this.text = text;
  }
  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

const test = suite('streams');
let model: LiveModel;
let streams: Streams;
const onlyDrops = (text: string) => {
  if (text === 'wrong') throw new Error('expected a filter');
  return text === '' ? () => true : ({ verdict }: { verdict: string }) => verdict === 'DROPPED';
};

test.before.each(() => {
  model = new LiveModel();
  model.setTopology(TWO_NODES);
  streams = new Streams(model, onlyDrops);
});
test.after.each(() => streams.close());

function open(filter = ''): FakeResponse {
  const response = new FakeResponse();
  streams.open(filter, response as unknown as ServerResponse);
  return response;
}

test('a new reader gets everything, and then what changes', () => {
  model.addFlow(flow(), 0);
  const reader = open();
  const [first] = reader.updates;
  assert.equal(first?.topology, TWO_NODES);
  assert.is(first?.whole, true);
  assert.is(first?.edges?.length, 1);
  assert.is(first?.flows?.length, 1);
  streams.update();
  const settled = reader.updates.length;
  streams.update();
  assert.is(reader.updates.length, settled, 'nothing is sent while nothing changes');
  model.addFlow(flow(), 0);
  model.tick(0);
  model.tick(250);
  streams.update();
  const last = reader.updates.at(-1);
  assert.is(last?.topology, undefined);
  assert.equal(
    last?.edges?.map(({ opened }) => opened),
    [2],
  );
});

test('each reader gets the flows that pass its own filter', () => {
  const [all, drops] = [open(), open('drops')];
  model.addFlow(flow(), 0);
  model.addFlow(flow({ verdict: 'DROPPED', event_type: { type: 1, sub_type: 133 }, Summary: 'policy-ingress: x' }), 0);
  streams.update();
  assert.equal(
    all.updates.at(-1)?.flows?.map(({ verdict }) => verdict),
    ['FORWARDED', 'DROPPED'],
  );
  assert.equal(
    drops.updates.at(-1)?.flows?.map(({ verdict }) => verdict),
    ['DROPPED'],
  );
});

test('a filter that cannot be read is refused with its reason', () => {
  const response = open('wrong');
  assert.equal([response.status, response.text], [400, 'expected a filter\n']);
  assert.is(streams.size, 0);
});

test('readers are bounded; one that leaves makes room', () => {
  const readers = Array.from({ length: MAX_READERS }, () => open());
  assert.is(open().status, 503);
  readers[0]!.destroy();
  assert.is(open().status, 200);
});

test('of a burst of flows the last ones are sent, and the others counted', () => {
  const reader = open();
  for (let i = 0; i < 1000; i++) model.addFlow(flow(), 0);
  streams.update();
  const last = reader.updates.at(-1);
  assert.is(last?.flows?.length, 200);
  assert.is(last?.skipped, 800);
  assert.is(last?.flows?.at(-1)?.number, 1000);
});

test('a reader that does not read gets nothing more, then everything anew, and is closed after a time', () => {
  const reader = open();
  streams.update();
  const before = reader.updates.length;
  reader.writableLength = 2 << 20;
  model.addFlow(flow(), 0);
  streams.update();
  assert.is(reader.updates.length, before);
  reader.writableLength = 0;
  streams.update();
  assert.is(reader.updates.at(-1)?.whole, true);
  reader.writableLength = 2 << 20;
  for (let i = 0; i < 100; i++) streams.update();
  assert.ok(reader.destroyed);
  assert.is(streams.size, 0);
});

test('flows are kept within a bound', () => {
  for (let i = 0; i < 10_000; i++) model.addFlow(flow(), 0);
  assert.is(model.flowsAfter(0, () => true).length, 4096);
  assert.is(model.flowsAfter(9_990, () => true).length, 10);
});

test.run();
