/** A whole response in one piece: a text for people, or JSON. */
import type { ServerResponse } from 'node:http';

export function answer(
  response: ServerResponse,
  status: number,
  text: string,
  type = 'text/plain; charset=utf-8',
): void {
  const body = type.startsWith('text/') ? `${text}\n` : text;
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
}
