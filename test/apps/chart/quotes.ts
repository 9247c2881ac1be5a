/** A quotation a request, in turn; the turn is counted in Redis if there is one. */
import { readFileSync } from 'node:fs';
import { serveHttp, setting } from '../lib/http.ts';
import { Redis } from '../lib/redis.ts';

const quotes = JSON.parse(readFileSync(setting('QUOTES_FILE'), 'utf8')) as string[];
const redis = process.env.CACHE_ADDR ? new Redis(process.env.CACHE_ADDR) : undefined;
let own = 0;

serveHttp(8080, {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /': async () => {
    const turn = redis === undefined ? ++own : Number(await redis.command('INCR', 'turn'));
    return { body: `${turn}: ${quotes[(turn - 1) % quotes.length]}\n` };
  },
});
