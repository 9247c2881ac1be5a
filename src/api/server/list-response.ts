/** Writes a list. */
import type { ServerResponse } from 'node:http';
import { drained } from '../../net/drained.ts';
import type { KubeObject } from '../types/objects.ts';
import { replyText } from './call.ts';
import type { ListMeta, Renderer, TextList } from './render.ts';

const BATCH = 200;

/**
 * Long lists are made in pieces, so that they do not delay other requests and watches. Objects are never changed in
 * place, so all of them are still as of the version in the list's metadata.
 */
export async function writeList(
  response: ServerResponse,
  renderer: Renderer,
  metadata: ListMeta,
  items: readonly KubeObject[],
): Promise<void> {
  const list = renderer.list(metadata);
  if (!('whole' in list)) return writeText(response, renderer.mediaType, list, items);
  const messages: Uint8Array[] = [];
  for (const [i, object] of items.entries()) {
    if (i % BATCH === BATCH - 1) await new Promise(setImmediate);
    messages.push(list.item(object));
  }
  replyText(response, 200, list.whole(messages), renderer.mediaType);
}

async function writeText(
  response: ServerResponse,
  mediaType: string,
  { head, item, tail }: TextList,
  items: readonly KubeObject[],
): Promise<void> {
  if (items.length <= BATCH) return replyText(response, 200, head + items.map(item).join() + tail, mediaType);
  response.writeHead(200, { 'content-type': mediaType });
  response.write(head);
  for (let i = 0; i < items.length && !response.destroyed; i += BATCH) {
    const piece = items
      .slice(i, i + BATCH)
      .map(item)
      .join();
    const flowing = response.write((i === 0 ? '' : ',') + piece);
    await (flowing ? new Promise(setImmediate) : drained(response));
  }
  response.end(tail);
}
