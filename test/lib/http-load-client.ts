/**
 * Requests over HTTP, each with a connection of its own, until standard input ends; then the result as JSON. Runs inside a
 * network namespace.
 *
 *   node http-load-client.js '{"requests": [{"url": "http://…", "expect": "regular expression"}], "connections": 2}'
 */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LoadRequest {
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** A regular expression for the body; the status must be 200. */
  expect: string;
}

export interface LoadOptions {
  /** Made in turn. */
  requests: LoadRequest[];
  /** Requests at the same time. */
  connections: number;
}

export interface LoadResult {
  requests: number;
  /** The first ones, with the milliseconds since the start. */
  failures: string[];
}

const TIMEOUT_MS = 8000;
const PAUSE_MS = 5;
const MAX_FAILURES = 20;

function ask({ url, method = 'GET', headers = {}, body, expect }: LoadRequest): Promise<string | undefined> {
  return new Promise((resolve) => {
    const secure = url.startsWith('https:');
    const options = {
      method,
      headers: { ...headers, Connection: 'close' },
      agent: false as const,
      timeout: TIMEOUT_MS,
      ...(secure && { rejectUnauthorized: false, servername: headers.Host ?? '' }),
    };
    const outgoing = (secure ? requestHttps : requestHttp)(url, options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', (error) => resolve(error.message));
      response.on('close', () => {
        const fine = response.statusCode === 200 && new RegExp(expect).test(text);
        resolve(fine ? undefined : `${response.statusCode}: ${text.slice(0, 200)}`);
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    outgoing.on('error', (error) => resolve(error.message));
    outgoing.end(body);
  });
}

const { requests, connections } = JSON.parse(process.argv[2]!) as LoadOptions;
const result: LoadResult = { requests: 0, failures: [] };
const startedMs = Date.now();
let ending = false;
process.stdin.resume().on('end', () => {
  ending = true;
});

async function work(): Promise<void> {
  while (!ending) {
    const next = requests[result.requests++ % requests.length]!;
    const beganMs = Date.now();
    const failure = await ask(next);
    if (failure !== undefined && result.failures.length < MAX_FAILURES) {
      const [began, ended] = [beganMs - startedMs, Date.now() - startedMs];
      result.failures.push(`${began}–${ended} ms: ${next.method ?? 'GET'} ${next.url}: ${failure}`);
    }
    await sleep(PAUSE_MS);
  }
}

await Promise.all(Array.from({ length: connections }, work));
process.stdout.write(JSON.stringify(result));
