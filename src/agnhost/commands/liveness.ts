/** `liveness`: healthy for ten seconds, then not, so that a liveness probe has something to find. */
import { printDuration } from '../duration.ts';
import { parseFlags } from '../flags.ts';
import { type Handler, plainError, serveHttp } from '../http.ts';

const PORT = 8080;
const HEALTHY_SECONDS = 10;

export function run(args: readonly string[]): void {
  parseFlags({}, args);
  const startedMs = Date.now();
  serveHttp(PORT, {
    '/started': (_, response) => {
      response.end(printDuration(Date.now() - startedMs));
    },
    '/healthz': (_, response) => {
      const seconds = (Date.now() - startedMs) / 1000;
      if (seconds > HEALTHY_SECONDS) response.writeHead(500).end(`error: ${seconds}`);
      else response.writeHead(200).end('ok');
    },
    '/redirect': redirect,
  });
}

const redirect: Handler = ({ form }, response) => {
  const location = form.get('loc') ?? '';
  try {
    response.writeHead(302, { Location: decodeURIComponent(location) }).end();
  } catch {
    plainError(response, 400, `invalid redirect: ${JSON.stringify(location)}`);
  }
};
