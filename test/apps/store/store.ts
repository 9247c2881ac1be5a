/**
 * A replicated store of keys and values. Its members find each other by the SRV records of their headless Service; every
 * write goes to all members and counts when most of them have it, every read takes the newest value of a majority. So the
 * store answers while any one member is away.
 */
import { resolveSrv } from 'node:dns/promises';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { serveHttp, setting } from '../lib/http.ts';

interface Entry {
  value: string;
  version: number;
}

const SIZE = Number(setting('CLUSTER_SIZE'));
const MAJORITY = Math.floor(SIZE / 2) + 1;
const FILE = '/data/entries.json';
const PEER_MS = 1000;
const entries = new Map<string, Entry>(Object.entries(readEntries()));

function readEntries(): Record<string, Entry> {
  try {
    return JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, Entry>;
  } catch {
    return {};
  }
}

/** Keeps the newer one of two values. */
function keep(key: string, entry: Entry): void {
  if ((entries.get(key)?.version ?? 0) >= entry.version) return;
  entries.set(key, entry);
  writeFileSync(`${FILE}.new`, JSON.stringify(Object.fromEntries(entries)));
  renameSync(`${FILE}.new`, FILE);
}

/** `http://store-1.store.default.svc.cluster.local:7000` of every member, itself included. */
async function members(): Promise<string[]> {
  const records = await resolveSrv(setting('PEER_RECORD'));
  return records.map(({ name, port }) => `http://${name}:${port}`);
}

/** The answers of the members that gave one; rejects if they are less than a majority. */
async function askMost<T>(path: string, body?: unknown): Promise<T[]> {
  const answers = await Promise.allSettled(
    (await members()).map(async (member) => {
      const response = await fetch(`${member}${path}`, {
        signal: AbortSignal.timeout(PEER_MS),
        ...(body !== undefined && { method: 'PUT', body: JSON.stringify(body) }),
      });
      return (await response.json()) as T;
    }),
  );
  const good = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
  if (good.length < MAJORITY) throw new Error(`${good.length} of ${SIZE} members answered`);
  return good;
}

async function newest(key: string): Promise<Entry | undefined> {
  // A member starts to serve before the others know of it, and the records may be some seconds old.
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await askMost<Entry | null>(`/own?key=${encodeURIComponent(key)}`);
      return found.filter((entry) => entry !== null).sort((a, b) => b.version - a.version)[0];
    } catch (error) {
      if (attempt === 3) throw error;
      await sleep(200);
    }
  }
}

const keyOf = (url: URL) => url.searchParams.get('key') ?? '';
const json = (value: unknown) => ({ type: 'application/json', body: JSON.stringify(value) });

serveHttp(7000, {
  'GET /own': ({ url }) => json(entries.get(keyOf(url)) ?? null),
  'PUT /own': ({ url, body }) => {
    keep(keyOf(url), JSON.parse(body) as Entry);
    return json(null);
  },
});
serveHttp(8080, {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /members': async () => json({ self: hostname(), members: (await members()).sort() }),
  'GET /value': async ({ url }) => {
    const entry = await newest(keyOf(url));
    return entry === undefined ? { status: 404, body: '' } : { body: entry.value };
  },
  'PUT /value': async ({ url, body }) => {
    const version = Math.max(Date.now(), ((await newest(keyOf(url)))?.version ?? 0) + 1);
    await askMost(`/own?key=${encodeURIComponent(keyOf(url))}`, { value: body, version });
    return { body: `${version}\n` };
  },
});
