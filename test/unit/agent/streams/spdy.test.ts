/** SPDY/3.1 against a client written here from the draft: zlib with the dictionary, frames by hand. */
import { Duplex, PassThrough } from 'node:stream';
import { constants, createDeflate } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  DICTIONARY,
  DICTIONARY_ID,
  HeaderReader,
  HeaderWriter,
} from '../../../../src/agent/streams/spdy/header-block.ts';
import { Reset, SpdySession, type SpdyStream } from '../../../../src/agent/streams/spdy/session.ts';

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

function plainBlock(headers: Record<string, string>): Buffer {
  const texts = Object.entries(headers).flat();
  return Buffer.concat([word(texts.length / 2), ...texts.flatMap((text) => [word(text.length), Buffer.from(text)])]);
}

/** Compresses as zlib does, one block after the other. */
class Compressor {
  private readonly deflate = createDeflate({ dictionary: DICTIONARY });

  async block(headers: Record<string, string>): Promise<Buffer> {
    const pieces: Buffer[] = [];
    const collect = (piece: Buffer) => pieces.push(piece);
    this.deflate.on('data', collect);
    this.deflate.write(plainBlock(headers));
    await new Promise<void>((resolve) => this.deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
    this.deflate.off('data', collect);
    return Buffer.concat(pieces);
  }
}

function control(type: number, body: Buffer, flags = 0): Buffer {
  const head = Buffer.from([0x80, 3, type >> 8, type & 0xff, flags, 0, 0, 0]);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function data(id: number, text: string, flags = 0): Buffer {
  const head = Buffer.concat([word(id), Buffer.from([flags, 0, 0, 0])]);
  head.writeUIntBE(text.length, 5, 3);
  return Buffer.concat([head, Buffer.from(text)]);
}

const FIN = 1;
const synStream = (id: number, block: Buffer) =>
  control(1, Buffer.concat([word(id), word(0), Buffer.from([0, 0]), block]));

interface Frame {
  control: boolean;
  /** Type of a control frame, stream of a data frame. */
  of: number;
  flags: number;
  body: Buffer;
}

/** A session and its client's end of the wire. */
function open(onStream: (stream: SpdyStream) => void) {
  const [up, down] = [new PassThrough(), new PassThrough()];
  const transport = Duplex.from({ readable: up, writable: down });
  transport.on('error', () => {});
  const session = new SpdySession(transport, onStream);
  const ended = session.run();
  const frames = async (count: number): Promise<Frame[]> => {
    const found: Frame[] = [];
    let rest = Buffer.alloc(0);
    while (found.length < count) {
      const chunk =
        (down.read() as Buffer | null) ?? (await new Promise((r) => down.once('readable', () => r(down.read()))));
      if (chunk === null) throw new Error(`the session ended after ${found.length} frames`);
      rest = Buffer.concat([rest, chunk as Buffer]);
      while (rest.length >= 8 && rest.length >= 8 + rest.readUIntBE(5, 3)) {
        const end = 8 + rest.readUIntBE(5, 3);
        const isControl = (rest[0]! & 0x80) !== 0;
        const of = isControl ? rest.readUInt16BE(2) : rest.readUInt32BE(0);
        found.push({ control: isControl, of, flags: rest[4]!, body: rest.subarray(8, end) });
        rest = rest.subarray(end);
      }
    }
    return found;
  };
  return { send: (bytes: Buffer) => up.write(bytes), hangUp: () => up.end(), frames, ended };
}

test('the dictionary is that of the draft', () => {
  let [a, b] = [1, 0];
  for (const byte of DICTIONARY) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  assert.is(((b << 16) | a) >>> 0, DICTIONARY_ID);
  assert.is(DICTIONARY.length, 1423);
});

test("header blocks: zlib's output is read, block after block, and zlib reads ours", async () => {
  const compressor = new Compressor();
  const reader = new HeaderReader();
  for (const headers of [{ streamtype: 'error', port: '80' }, { streamtype: 'data', port: '80' }, {}]) {
    const read = await reader.read(await compressor.block(headers as Record<string, string>));
    assert.equal(Object.fromEntries(read), headers);
  }
  const writer = new HeaderWriter();
  const own = new HeaderReader();
  for (const headers of [{ a: 'b' }, {}, { long: 'x'.repeat(5000) }]) {
    assert.equal(Object.fromEntries(await own.read(writer.write(headers as Record<string, string>))), headers);
  }
});

test('header blocks that are damaged, too large or truncated are rejected', async () => {
  const refused = async (block: Buffer) => {
    try {
      await new HeaderReader().read(block);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };
  assert.match(await refused(Buffer.from('no zlib at all, not at all')), 'SPDY headers');
  assert.match(await refused(await new Compressor().block({ bomb: 'x'.repeat(1_000_000) })), 'more than 16384 bytes');
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`h${i}`, '']));
  assert.match(await refused(await new Compressor().block(many)), 'more than 64');
  const short = new HeaderWriter().write({ a: 'b' });
  short.writeUInt32BE(0x7fffffff, 6 + 5 + 4);
  assert.match(await refused(short), 'cut short');
});

test('a stream is opened, accepted, used in both directions, half closed and closed', async () => {
  const compressor = new Compressor();
  const streams: SpdyStream[] = [];
  const wire = open((stream) => {
    streams.push(stream);
    stream.accept();
  });
  wire.send(synStream(1, await compressor.block({ streamtype: 'stdin' })));
  const [reply] = await wire.frames(1);
  assert.equal([reply!.control, reply!.of, reply!.body.readUInt32BE(0)], [true, 2, 1]);
  const [stream] = streams;
  assert.is(stream!.headers.get('streamtype'), 'stdin');
  wire.send(data(1, 'hello '));
  wire.send(data(1, 'there', FIN));
  let text = '';
  for await (const chunk of stream!.iterator({ destroyOnReturn: false })) text += chunk;
  assert.is(text, 'hello there');
  stream!.end('answer');
  const answer = await wire.frames(2);
  assert.equal(
    answer.map(({ control: c, of, flags, body }) => [c, of, flags, body.toString()]),
    [
      [false, 1, 0, 'answer'],
      [false, 1, FIN, ''],
    ],
  );
  wire.hangUp();
  await wire.ended;
});

test('large writes are sent in frames of 32 KiB; frames may arrive in any pieces', async () => {
  const compressor = new Compressor();
  const wire = open((stream) => {
    stream.accept();
    stream.end(Buffer.alloc(70_000, 1));
  });
  for (const byte of synStream(1, await compressor.block({}))) wire.send(Buffer.from([byte]));
  const frames = await wire.frames(5);
  assert.equal(
    frames.slice(1).map(({ body }) => body.length),
    [32768, 32768, 4464, 0],
  );
  wire.hangUp();
  await wire.ended;
});

test('pings are answered, a reset affects one stream only, an unread stream pauses the connection', async () => {
  const compressor = new Compressor();
  const streams: SpdyStream[] = [];
  const wire = open((stream) => {
    streams.push(stream);
    stream.accept();
  });
  wire.send(control(6, word(7)));
  const [pong] = await wire.frames(1);
  assert.equal([pong!.of, pong!.body.readUInt32BE(0)], [6, 7]);
  wire.send(synStream(1, await compressor.block({})));
  wire.send(synStream(3, await compressor.block({})));
  await wire.frames(2);
  wire.send(control(3, Buffer.concat([word(1), word(Reset.CANCEL)])));
  for (let i = 0; i < 100; i++) wire.send(data(3, 'x'.repeat(32 * 1024)));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(streams[0]!.destroyed);
  const [, second] = streams;
  assert.ok(second!.readableLength <= 1024 * 1024 + 64 * 1024, `${second!.readableLength} bytes are held`);
  let size = 0;
  second!.on('data', (chunk: Buffer) => {
    size += chunk.length;
  });
  wire.send(data(3, '', FIN));
  await new Promise((resolve) => second!.once('end', resolve));
  assert.is(size, 100 * 32 * 1024);
  wire.hangUp();
  await wire.ended;
});

test('a protocol error ends the connection: other versions, streams out of order, frames of more than a MiB', async () => {
  const compressor = new Compressor();
  const even = synStream(2, await compressor.block({}));
  const huge = data(1, '');
  huge.writeUIntBE(2 * 1024 * 1024, 5, 3);
  const version = control(6, word(1));
  version[1] = 2;
  for (const bytes of [even, huge, version]) {
    const wire = open(() => assert.unreachable());
    wire.send(bytes);
    await wire.ended;
  }
});

test.run();
