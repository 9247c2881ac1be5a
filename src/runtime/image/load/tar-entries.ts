/** The entries of a tar, one after the other, as tar-stream parses them. */
import { once } from 'node:events';
import { type Extract, extract, type Header } from 'tar-stream';

export interface TarEntry extends Omit<Header, 'type' | 'pax'> {
  /** null: of an unknown kind. */
  type: Header['type'] | null;
  /** Records of its extended header. */
  pax: Readonly<Record<string, string>>;
  /** Where its content begins in the tar. */
  byteOffset: number;
  /** What is not read is skipped. */
  content: AsyncIterable<Buffer>;
}

/** What its types do not have: ancient archives without a magic number, and a header's place. */
type Parser = (options: { allowUnknownFormat: boolean }) => Extract;
type ParsedHeader = Header & { byteOffset: number };

/** @throws Error if it is not a tar, or ends too early */
export async function* tarEntries(tar: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const parser = (extract as Parser)({ allowUnknownFormat: true });
  let failure: Error | undefined;
  const feeding = feed(tar, parser).catch((error: Error) => {
    failure = error;
    parser.destroy(error);
  });
  try {
    for await (const entry of parser) {
      const header = entry.header as ParsedHeader;
      const pax = (header.pax ?? {}) as Record<string, string>;
      yield { ...header, linkname: header.linkname ?? '', pax, content: entry as unknown as AsyncIterable<Buffer> };
      entry.resume();
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    parser.destroy();
    await feeding;
  }
  if (failure !== undefined) throw failure;
}

async function feed(tar: AsyncIterable<Buffer>, parser: Extract): Promise<void> {
  const events = parser as unknown as NodeJS.EventEmitter;
  let open = true;
  const closed = new Promise<void>((resolve) => {
    events.once('close', () => {
      open = false;
      resolve();
    });
  });
  for await (const chunk of tar) {
    if (!open) return;
    if (!parser.write(chunk)) await Promise.race([once(events, 'drain'), closed]);
  }
  parser.end(undefined);
}
