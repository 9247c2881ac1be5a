/** A guestbook: entries are written to the leader, and read from the followers. */
import { hostname } from 'node:os';
import { serveHttp } from '../lib/http.ts';
import { Redis } from '../lib/redis.ts';

// As the classic example does: by DNS, or from the variables of Services.
const byName = (process.env.GET_HOSTS_FROM ?? 'dns') === 'dns';
const host = (name: string, variable: string) => (byName ? name : (process.env[variable] ?? name));
const leader = new Redis(`${host('redis-leader', 'REDIS_LEADER_SERVICE_HOST')}:6379`);
const followers = new Redis(`${host('redis-follower', 'REDIS_FOLLOWER_SERVICE_HOST')}:6379`);

serveHttp(80, {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /': () => ({ body: `guestbook on ${hostname()}\n` }),
  'POST /entries': async ({ body }) => {
    const length = await leader.command('RPUSH', 'entries', body);
    return { body: `${length}\n` };
  },
  'GET /entries': async () => {
    const entries = (await followers.command('LRANGE', 'entries', 0, -1)) as string[];
    return { type: 'application/json', body: JSON.stringify(entries) };
  },
});
