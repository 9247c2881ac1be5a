/** The page on which people vote; a vote goes into a list in Redis. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { serveHttp } from '../lib/http.ts';
import { Redis } from '../lib/redis.ts';

const [OPTION_A, OPTION_B] = [process.env.OPTION_A ?? 'Cats', process.env.OPTION_B ?? 'Dogs'];
const redis = new Redis('redis:6379');

serveHttp(80, {
  'GET /': () => ({ body: `${OPTION_A} or ${OPTION_B}? (${hostname()})\n` }),
  'POST /': async ({ body }) => {
    const form = new URLSearchParams(body);
    const vote = { voter: form.get('voter') ?? randomUUID(), choice: form.get('vote') === 'b' ? 'b' : 'a' };
    await redis.command('RPUSH', 'votes', JSON.stringify(vote));
    return { body: `${vote.choice === 'a' ? OPTION_A : OPTION_B}\n` };
  },
});
