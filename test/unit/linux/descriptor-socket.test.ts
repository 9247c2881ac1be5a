/** Messages with file descriptors between two ends of a unix socket. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { acceptFrom, connectTo, limitTime, listenAt, MessageReader } from '../../../src/linux/descriptor-socket.ts';
import { EAGAIN, SystemError } from '../../../src/linux/ffi.ts';

const directory = mkdtempSync(join(tmpdir(), 'descriptors-'));
test.after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'socket');
const listening = listenAt(path);
const client = connectTo(path, 200);
const server = acceptFrom(listening)!;

test('descriptors arrive with the message that they were sent with, as new descriptors of the same files', () => {
  writeFileSync(join(directory, 'a'), 'contents of a');
  const fd = openSync(join(directory, 'a'), 'r');
  client.send({ number: 1 }, [fd, fd]);
  client.send({ number: 2 });
  client.send({ number: 3, text: 'ä'.repeat(20_000) }, [fd]);
  const [first, second, third] = [server.receive()!, server.receive()!, server.receive()!];
  assert.equal(first.message, { number: 1 });
  assert.is(first.fds.length, 2);
  assert.not(first.fds.includes(fd));
  assert.is(readFileSync(first.fds[0]!, 'utf8'), 'contents of a');
  assert.equal(second, { message: { number: 2 }, fds: [] });
  assert.equal(third.message, { number: 3, text: 'ä'.repeat(20_000) });
  assert.is(third.fds.length, 1);
  for (const received of [fd, ...first.fds, ...third.fds]) closeSync(received);
});

test('nothing within the time limit is an error, the end of the other process is not', () => {
  limitTime(server.fd, 50);
  try {
    server.receive();
    assert.unreachable();
  } catch (error) {
    assert.is((error as SystemError).errno, EAGAIN);
  }
  server.send({ last: true });
  server.close();
  assert.equal(client.receive()?.message, { last: true });
  assert.is(client.receive(), undefined);
  assert.throws(
    () => client.send({}),
    (error: Error) => error instanceof SystemError,
  );
});

test('nobody listens: connecting is an error', () => {
  assert.throws(() => connectTo(join(directory, 'absent'), 50), /connect .*absent/);
  assert.throws(() => connectTo(`/${'x'.repeat(200)}`, 50), /longer than the path of a socket may be/);
});

test('a reader of the bytes puts messages together, however they are cut', () => {
  const message = (value: object): Buffer => {
    const text = Buffer.from(JSON.stringify(value));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text]);
  };
  const bytes = Buffer.concat([message({ a: 1 }), message({ b: 2 })]);
  const reader = new MessageReader();
  const read = [...bytes].flatMap((byte) => reader.push(Buffer.from([byte])));
  assert.equal(read, [{ a: 1 }, { b: 2 }]);
  assert.equal(reader.push(bytes), [{ a: 1 }, { b: 2 }]);
});

test.run();
