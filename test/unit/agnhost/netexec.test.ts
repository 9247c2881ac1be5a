/** `agnhost netexec`: its endpoints, its UDP commands, and how it ends. */
import { createSocket } from 'node:dgram';
import { hostname } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { freePort, page, type Started, startAgnhost, stopAll } from '../../lib/agnhost.ts';
import { eventually } from '../../lib/cluster.ts';

const test = suite('netexec');
let port: number;
let udpPort: number;
let here: string;

test.before(async () => {
  [port, udpPort] = [await freePort(), await freePort()];
  startAgnhost(['netexec', `--http-port=${port}`, `--udp-port=${udpPort}`]);
  here = `http://127.0.0.1:${port}`;
  await eventually(async () => ((await page(`${here}/healthz`)).status === 200 ? true : undefined));
});
test.after(stopAll);

const text = async (path: string) => (await page(here + path)).text;

test('/, /hostname, /hostName, /clientip, /serverport and /header', async () => {
  assert.match(await text('/'), /^NOW: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/);
  assert.match(await text('/any/other/path'), /^NOW: /);
  assert.is(await text('/hostname'), hostname());
  assert.is(await text('/hostName'), hostname());
  assert.match(await text('/clientip'), /^127\.0\.0\.1:\d+$/);
  assert.is(await text('/serverport'), String(port));
  assert.is((await page(`${here}/header?key=X-Trace`, { headers: { 'x-trace': '7' } })).text, '7');
});

test('/echo returns the message with the status that is asked for', async () => {
  assert.equal(await page(`${here}/echo?msg=two%20words`), { status: 200, text: 'two words' });
  assert.equal(await page(`${here}/echo?msg=x&code=418`), { status: 418, text: 'x' });
  assert.match(await text('/echo?code=abc'), `argument 'code' must be an integer or empty, got "abc"\n`);
  const form = { method: 'POST', body: new URLSearchParams({ msg: 'posted' }) };
  assert.equal(await page(`${here}/echo`, form), { status: 200, text: 'posted' });
});

test('/redirect leads elsewhere, 302 by default', async () => {
  const get = (path: string) => fetch(here + path, { redirect: 'manual' });
  const plain = await get('/redirect?location=/echo%3Fmsg=there');
  assert.equal([plain.status, plain.headers.get('location')], [302, '/echo?msg=there']);
  assert.is((await get('/redirect?location=/&code=307')).status, 307);
  assert.is(await text('/redirect?location=/echo%3Fmsg=there'), 'there');
});

test('/shell returns the output, and the error of a command that fails', async () => {
  assert.equal(JSON.parse(await text('/shell?cmd=echo%20out;echo%20err%20%3E%262')), { output: 'out\nerr\n' });
  assert.equal(JSON.parse(await text('/shell?shellCommand=exit%203')), { error: 'exit status 3' });
});

test('/dial sends as many requests as asked for, over HTTP and UDP', async () => {
  const dial = (query: string) => page(`${here}/dial?${query}`);
  const http = await dial(`host=127.0.0.1&port=${port}&request=hostname&tries=2`);
  assert.equal(http, { status: 200, text: JSON.stringify({ responses: [hostname(), hostname()] }) });
  const udp = await dial(`host=127.0.0.1&port=${udpPort}&request=hostname&protocol=udp`);
  assert.equal(JSON.parse(udp.text), { responses: [hostname()] });
  const refused = JSON.parse((await dial('host=127.0.0.1&port=1&request=hostname')).text);
  assert.equal(refused, {
    errors: ['Get "http://127.0.0.1:1/hostname": dial tcp 127.0.0.1:1: connect: connection refused'],
  });
  for (const [query, message] of [
    ['host=127.0.0.1&port=1', 'request parameter not specified. <nil>\n'],
    ['host=127.0.0.1&port=1&request=x&protocol=ipx', 'unsupported protocol. ipx\n'],
    ['host=nobody.invalid&port=1&request=x', 'host and/or port param are invalid. lookup nobody.invalid'],
    ['host=127.0.0.1&port=1&request=x&tries=few', 'tries parameter is invalid.'],
  ] as const) {
    const { status, text } = await dial(query);
    assert.is(status, 400, query);
    assert.match(text, message);
  }
});

test('UDP: hostname, echo and clientip are answered, anything else is not', async () => {
  const socket = createSocket('udp4');
  const answers: string[] = [];
  socket.on('message', (message) => answers.push(message.toString()));
  socket.bind(0);
  for (const command of ['nonsense', 'hostname\n', 'ECHO Some Text', 'clientip']) {
    socket.send(command, udpPort, '127.0.0.1');
  }
  await eventually(async () => (answers.length === 3 ? true : undefined));
  assert.equal(answers.slice(0, 2), [hostname(), 'some text']);
  assert.is(answers[2], `127.0.0.1:${socket.address().port}`);
  socket.close();
});

async function other(...args: string[]): Promise<{ port: number; started: Started }> {
  const port = await freePort();
  const started = startAgnhost(['netexec', `--http-port=${port}`, '--udp-port=-1', ...args]);
  await page(`http://127.0.0.1:${port}/healthz`);
  return { port, started };
}

test('without a UDP server it is healthy', async () => {
  const { port } = await other();
  assert.is((await page(`http://127.0.0.1:${port}/healthz`)).status, 200);
});

test('--http-override answers every request as one for that path', async () => {
  const { port } = await other('--http-override=/echo?msg=always&code=200');
  assert.is((await page(`http://127.0.0.1:${port}/hostname`)).text, 'always');
});

test('/exit ends it with the given status; with a timeout, after its connections', async () => {
  const first = await other();
  await fetch(`http://127.0.0.1:${first.port}/exit?code=42`).catch(() => {});
  assert.is(await first.started.ended, 42);
  assert.match(
    first.started.log(),
    'Will begin shutdown in 0s, allowing 0s for connections to close, then will exit with 42',
  );
  const second = await other();
  await fetch(`http://127.0.0.1:${second.port}/exit?code=7&timeout=10s`).catch(() => {});
  assert.is(await second.started.ended, 7);
  const third = await other();
  const refused = await page(`http://127.0.0.1:${third.port}/exit?code=200`);
  assert.is(refused.text, `argument 'code' must be an integer [0-127] or empty, got "200"\n`);
  await fetch(`http://127.0.0.1:${third.port}/shutdown`).catch(() => {});
  assert.is(await third.started.ended, 0);
});

test.run();
