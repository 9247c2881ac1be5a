/** Serves the built pages of `dataplane ui` on the loopback (src/web, bundled into dist/bundle/ui). */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { type Asset, UiServer, type UiServerOptions } from '../../ui/server/http-server.ts';
import { failed } from '../errors.ts';

export interface PageRequest {
  /** 0: any that is free. */
  readonly port: number;
  readonly started: (url: string) => void;
}

/** Beside the directory cli of the bundle. */
const PAGES = new URL('../ui/', import.meta.url);
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const TOKEN_BYTES = 24;

/** The files of a page, by path. They are read once: a request cannot name any other file. */
export function readAssets(page: 'page.html' | 'playground.html'): Map<string, Asset> {
  const assets = new Map<string, Asset>();
  try {
    for (const name of readdirSync(PAGES)) {
      const type = TYPES[extname(name)];
      if (type !== undefined) assets.set(`/${name}`, { type, body: readFileSync(new URL(name, PAGES)) });
    }
  } catch (error) {
    throw failed(`the page cannot be read: ${(error as Error).message}`, 'build it with `npm run build`');
  }
  const start = assets.get(`/${page}`);
  if (start === undefined) throw failed('the page is not built', 'build it with `npm run build`');
  return assets.set('/', start);
}

/** Serves until `ended`. @throws CliError if the port cannot be listened on */
export async function servePage(
  { port, started }: PageRequest,
  options: Omit<UiServerOptions, 'token'>,
  ended: AbortSignal,
): Promise<void> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const server = new UiServer({ ...options, token });
  let bound: number;
  try {
    bound = await server.listen(port);
  } catch (error) {
    throw failed(`127.0.0.1:${port} cannot be listened on: ${(error as Error).message}`, 'give another --port');
  }
  started(`http://127.0.0.1:${bound}/?token=${token}`);
  if (!ended.aborted) await once(ended, 'abort');
  server.close();
}

/** `dataplane ui --playground` */
export function servePlayground(request: PageRequest, ended: AbortController): Promise<void> {
  return servePage(request, { assets: readAssets('playground.html'), calls: {} }, ended.signal);
}
