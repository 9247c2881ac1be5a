/** The page's server: who is served, and what. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { cookieOf, ownHosts, sameSecret } from '../../../src/ui/server/access.ts';
import { BadRequest, UiServer } from '../../../src/ui/server/http-server.ts';
import { type Asked, ask } from '../../lib/ui-fixture.ts';

const test = suite('the server of the page');
const TOKEN = 'the-token';
const text = (body: string) => ({ type: 'text/html; charset=utf-8', body: Buffer.from(body) });
const server = new UiServer({
  token: TOKEN,
  assets: new Map([
    ['/', text('start')],
    ['/page.js', text('program')],
  ]),
  calls: {
    echo: async (request) => ({ request }),
    refuse: async () => {
      throw new BadRequest('no such pod');
    },
    fail: async () => {
      throw new Error('a mistake of ours');
    },
  },
});
let port = 0;
const cookie = () => `dataplane-ui-${port}=${TOKEN}`;
const signedIn = (path: string, { headers = {}, ...more }: Asked = {}) =>
  ask(port, path, { ...more, headers: { cookie: cookie(), ...headers } });
const post = (path: string, body: string, headers: Record<string, string> = {}) =>
  signedIn(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });

test.before(async () => {
  port = await server.listen(0);
});
test.after(() => server.close());

test('without the token nothing is served: neither pages nor calls nor the stream', async () => {
  for (const path of ['/', '/page.js', '/api/stream', '/?token=wrong', '/?token=', '/page.js?token=the-token']) {
    const { status, body } = await ask(port, path);
    assert.is(status, 401, path);
    assert.match(body, /the token is missing or wrong/);
  }
  const { status } = await ask(port, '/api/echo', { method: 'POST', headers: { 'content-type': 'application/json' } });
  assert.is(status, 401);
});

test('the token in the address becomes a cookie that scripts and other sites cannot use', async () => {
  const { status, headers } = await ask(port, `/?token=${TOKEN}`);
  assert.is(status, 303);
  assert.is(headers.location, '/');
  assert.equal(headers['set-cookie'], [`dataplane-ui-${port}=${TOKEN}; Path=/; HttpOnly; SameSite=Strict`]);
  assert.is((await signedIn('/')).body, 'start');
});

test('a wrong cookie is refused, also one that only begins like the token', async () => {
  for (const value of ['', 'the-toke', 'the-token2', 'x']) {
    const headers = { cookie: `dataplane-ui-${port}=${value}` };
    assert.is((await ask(port, '/', { headers })).status, 401, value);
  }
});

test('another name in the Host header is refused, even with the token (DNS rebinding)', async () => {
  for (const host of [
    'attacker.example',
    `attacker.example:${port}`,
    '127.0.0.1',
    '127.0.0.1:1',
    `127.0.0.1.x:${port}`,
  ]) {
    assert.is((await signedIn('/', { headers: { host } })).status, 403, host);
    const { status, headers } = await ask(port, `/?token=${TOKEN}`, { headers: { host } });
    assert.is(status, 403, host);
    assert.is(headers['set-cookie'], undefined);
  }
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`]) {
    assert.is((await signedIn('/', { headers: { host } })).status, 200, host);
  }
});

test('a request from the origin of another site is refused', async () => {
  for (const origin of [
    'http://attacker.example',
    'null',
    `https://127.0.0.1:${port}`,
    `http://127.0.0.1:${port + 1}`,
  ]) {
    assert.is((await post('/api/echo', '1', { origin })).status, 403, origin);
  }
  assert.is((await post('/api/echo', '1', { origin: `http://127.0.0.1:${port}` })).status, 200);
});

test('every response, refusals included, has a strict Content-Security-Policy and is not kept', async () => {
  for (const { headers } of [await ask(port, '/'), await signedIn('/'), await signedIn('/nothing')]) {
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self';/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.not.match(policy, /unsafe|https?:|\*/);
    assert.is(headers['x-content-type-options'], 'nosniff');
    assert.is(headers['referrer-policy'], 'no-referrer');
    assert.is(headers['cache-control'], 'no-store');
  }
});

test('only the named assets are served: no path leaves them', async () => {
  for (const path of [
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/package.json',
    '/page.js/../../etc/passwd',
    '//etc/passwd',
    '/etc/passwd',
    '/page.js%00.html',
    '/__proto__',
  ]) {
    assert.ok([400, 404].includes((await signedIn(path)).status), path);
  }
  assert.is((await signedIn('http://other.example/page.js')).status, 400, 'an absolute address');
});

test('calls take JSON only, of bounded length', async () => {
  assert.is((await post('/api/echo', '{"a":1}')).body, '{"request":{"a":1}}');
  assert.is((await post('/api/echo', '{')).status, 400);
  assert.is((await post('/api/echo', '1', { 'content-type': 'text/plain' })).status, 415);
  assert.is((await post('/api/echo', JSON.stringify('x'.repeat(600_000)))).status, 413);
  assert.is((await post('/api/constructor', '1')).status, 404);
  assert.is((await signedIn('/api/echo', { method: 'PUT' })).status, 405);
});

test('a refused call has its reason; a mistake of ours is another status', async () => {
  const refused = await post('/api/refuse', '{}');
  assert.equal([refused.status, refused.body], [400, 'no such pod\n']);
  assert.is((await post('/api/fail', '{}')).status, 500);
});

test('secrets are equal only as a whole; cookies are found by their whole name', () => {
  assert.ok(sameSecret('abc', 'abc'));
  for (const given of ['', 'ab', 'abcd', 'ABC']) assert.not.ok(sameSecret(given, 'abc'), given);
  assert.is(cookieOf('xa=1; a=2; b', 'a'), '2');
  assert.is(cookieOf(undefined, 'a'), undefined);
  assert.ok(ownHosts(80).has('[::1]:80'));
});

test.run();
