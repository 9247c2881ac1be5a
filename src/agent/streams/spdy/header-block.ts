/**
 * Name/value blocks of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2.6.10): each direction of a connection is one zlib
 * stream with a preset dictionary. Received blocks are inflated; sent blocks use stored (uncompressed) blocks of the
 * same format (RFC 1951 §3.2.4), because our headers are only a few bytes.
 */
import { constants, createInflate, type Inflate } from 'node:zlib';

/** First half of the dictionary: words, each preceded by its length in 32 bits. */
const WORDS =
  'options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow ' +
  'authorization cache-control connection content-base content-encoding content-language content-length ' +
  'content-location content-md5 content-range content-type date etag expect expires from host if-match ' +
  'if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma ' +
  'proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade ' +
  'user-agent vary via warning www-authenticate method get status|200 OK|version HTTP/1.1 url public set-cookie ' +
  'keep-alive origin';
/** Second half: text without lengths. */
const TEXT =
  '100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505' +
  '203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden' +
  '404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable' +
  'Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT' +
  'chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,' +
  'publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.';

/** Adler-32 of the dictionary below, which a zlib stream refers to (RFC 1950 §2.2, DICTID). */
export const DICTIONARY_ID = 0xe3c6a7c2;
export const DICTIONARY = makeDictionary();

/** CMF and FLG for a 32 KiB window and a preset dictionary; their 16 bits are a multiple of 31 (RFC 1950 §2.2). */
const ZLIB_HEADER = 0x78bb;
/** An empty stored block: marks everything before it as complete (Z_SYNC_FLUSH). */
const SYNC = Buffer.from([0, 0, 0, 0xff, 0xff]);

const MAX_BLOCK_BYTES = 16 * 1024;
const MAX_HEADERS = 64;

function makeDictionary(): Buffer {
  // "200 OK" is one entry.
  const words = WORDS.split('|').flatMap((part, i) => (i === 1 ? [part] : part.split(' ').filter(Boolean)));
  const parts = words.map((word) => {
    const bytes = Buffer.alloc(4 + word.length);
    bytes.writeUInt32BE(word.length, 0);
    bytes.write(word, 4, 'latin1');
    return bytes;
  });
  return Buffer.concat([...parts, Buffer.from(TEXT, 'latin1')]);
}

/** Decoder of the peer's blocks, in the order received. */
export class HeaderReader {
  private readonly inflate: Inflate = createInflate({
    dictionary: DICTIONARY,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  private pieces: Buffer[] = [];
  private size = 0;
  private failure: Error | undefined;
  private failed: () => void = () => {};

  constructor() {
    this.inflate.on('data', (piece: Buffer) => {
      this.size += piece.length;
      if (this.size <= MAX_BLOCK_BYTES) this.pieces.push(piece);
    });
    this.inflate.on('error', (error) => {
      this.failure = error;
      this.failed();
    });
  }

  /** @throws Error if the block is damaged or larger than 16 KiB */
  async read(block: Buffer): Promise<Map<string, string>> {
    this.pieces = [];
    this.size = 0;
    if (this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.failed = resolve;
        // When the callback runs, the whole block has been delivered.
        this.inflate.write(block, () => resolve());
      });
    }
    if (this.failure !== undefined) throw new Error(`SPDY headers: ${this.failure.message}`);
    if (this.size > MAX_BLOCK_BYTES) throw new Error(`SPDY headers: more than ${MAX_BLOCK_BYTES} bytes`);
    return parse(Buffer.concat(this.pieces));
  }

  close(): void {
    this.inflate.close();
  }
}

function parse(bytes: Buffer): Map<string, string> {
  const headers = new Map<string, string>();
  let at = 0;
  const word = (): number => {
    if (at + 4 > bytes.length) throw new Error('SPDY headers: cut short');
    at += 4;
    return bytes.readUInt32BE(at - 4);
  };
  const text = (): string => {
    const length = word();
    if (length > bytes.length - at) throw new Error('SPDY headers: cut short');
    at += length;
    return bytes.toString('latin1', at - length, at);
  };
  const count = word();
  if (count > MAX_HEADERS) throw new Error(`SPDY headers: more than ${MAX_HEADERS}`);
  for (let i = 0; i < count; i++) {
    const name = text().toLowerCase();
    headers.set(name, text());
  }
  return headers;
}

/** Encoder of our blocks. */
export class HeaderWriter {
  private begun = false;

  write(headers: Readonly<Record<string, string>>): Buffer {
    const plain = print(headers);
    const stored = Buffer.alloc(5);
    stored.writeUInt16LE(plain.length, 1);
    stored.writeUInt16LE(~plain.length & 0xffff, 3);
    const block = [stored, plain, SYNC];
    if (!this.begun) {
      const head = Buffer.alloc(6);
      head.writeUInt16BE(ZLIB_HEADER, 0);
      head.writeUInt32BE(DICTIONARY_ID, 2);
      block.unshift(head);
      this.begun = true;
    }
    return Buffer.concat(block);
  }
}

function print(headers: Readonly<Record<string, string>>): Buffer {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const pairs = Object.entries(headers);
  const texts = pairs
    .flat()
    .flatMap((text) => [number(Buffer.byteLength(text, 'latin1')), Buffer.from(text, 'latin1')]);
  return Buffer.concat([number(pairs.length), ...texts]);
}
