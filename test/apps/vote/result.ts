/** The result of the vote, from PostgreSQL. */
import { serveHttp } from '../lib/http.ts';
import { query } from './database.ts';

serveHttp(80, {
  'GET /healthz': () => ({ body: 'ok' }),
  'GET /': async () => {
    const rows = await query('SELECT choice, count(*) FROM votes GROUP BY choice ORDER BY choice');
    const counts = Object.fromEntries(rows.map(([choice, count]) => [choice, Number(count)]));
    return { type: 'application/json', body: JSON.stringify({ a: 0, b: 0, ...counts }) };
  },
});
