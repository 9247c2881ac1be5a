/** The page over a model, without a cluster, as `dataplane ui` serves it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseFlowFilter } from '../../src/cli/args/flow-filter-text.ts';
import type { LiveModel } from '../../src/ui/live-model.ts';
import { UiServer } from '../../src/ui/server/http-server.ts';
import { Streams } from '../../src/ui/server/streams.ts';
import { ROOT } from './cluster.ts';

const TOKEN = 'token';
export const PAGES: string = join(ROOT, 'dist/bundle/ui');
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css',
  js: 'text/javascript',
};

const asset = (name: string) => ({
  type: TYPES[name.split('.').at(-1)!] ?? 'image/svg+xml',
  body: readFileSync(join(PAGES, name)),
});

export interface ServedPage {
  readonly url: string;
  close(): void;
}

/** @param calls what the page can ask for */
export async function serveModel(
  model: LiveModel,
  calls: Readonly<Record<string, (request: unknown) => Promise<unknown>>> = {},
): Promise<ServedPage> {
  const server = new UiServer({
    token: TOKEN,
    assets: new Map([
      ['/', asset('page.html')],
      ...['page.js', 'style.css', 'icon.svg'].map((name) => [`/${name}`, asset(name)] as const),
    ]),
    calls,
    streams: new Streams(model, parseFlowFilter),
  });
  const port = await server.listen(0);
  const timer = setInterval(() => model.tick(performance.now()), 250);
  return {
    url: `http://127.0.0.1:${port}/?token=${TOKEN}`,
    close: () => {
      clearInterval(timer);
      server.close();
    },
  };
}
