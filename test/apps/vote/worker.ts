/** Moves votes from Redis to PostgreSQL. A vote leaves the list of pending ones when it is in the database. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from '../lib/redis.ts';
import { query } from './database.ts';

const redis = new Redis('redis:6379');
const MAX_BATCH = 50;
let ending = false;
process.once('SIGTERM', () => {
  ending = true;
});

async function ready(): Promise<void> {
  for (;;) {
    try {
      await query('CREATE TABLE IF NOT EXISTS votes (id text PRIMARY KEY, choice text NOT NULL)');
      console.log('connected to the database');
      return;
    } catch (error) {
      console.error(`waiting for the database: ${(error as Error).message}`);
      await sleep(500);
    }
  }
}

async function moveSome(): Promise<number> {
  const votes = (await redis.command('LRANGE', 'votes', 0, MAX_BATCH - 1)) as string[];
  if (votes.length === 0) return 0;
  await query(
    `INSERT INTO votes SELECT v->>'voter', v->>'choice' FROM json_array_elements(:'votes'::json) AS v
     ON CONFLICT (id) DO UPDATE SET choice = EXCLUDED.choice`,
    { votes: `[${[...new Map(votes.map((vote) => [JSON.parse(vote).voter, vote])).values()].join(',')}]` },
  );
  await redis.command('LTRIM', 'votes', votes.length, -1);
  return votes.length;
}

await ready();
while (!ending) {
  const moved = await moveSome().catch((error: Error) => {
    console.error(error.message);
    return 0;
  });
  if (moved === 0) await sleep(100);
}
process.exit(0);
