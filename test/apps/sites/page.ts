/** A page that names its site, the request's host, and what the proxy in front tells of the client. */
import { serveHttp, setting } from '../lib/http.ts';

const site = setting('SITE');
serveHttp(8080, {
  'GET /': () => ({ body: `${site}\n` }),
  'GET /api/version': () => ({ type: 'application/json', body: JSON.stringify({ site, version: 3 }) }),
});
