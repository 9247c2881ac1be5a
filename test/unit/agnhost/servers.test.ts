/** The smaller servers of agnhost. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { request } from 'node:https';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { agnhost, freePort, page, startAgnhost, stopAll } from '../../lib/agnhost.ts';
import { eventually } from '../../lib/cluster.ts';

test.after(stopAll);

/** Everything that a server sends before it closes, or the error of the connection. */
function read(port: number, send = ''): Promise<string> {
  return eventually(async () => {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    if (send !== '') socket.write(send);
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    return new Promise<string>((resolve) => {
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      socket.once('end', () => resolve(text));
    });
  });
}

test('serve-hostname: over HTTP, or over TCP', async () => {
  const [http, tcp] = [await freePort(), await freePort()];
  startAgnhost(['serve-hostname', `--port=${http}`]);
  assert.is((await page(`http://127.0.0.1:${http}/`)).text, hostname());
  startAgnhost(['serve-hostname', '--tcp', '--http=false', `--port=${tcp}`]);
  assert.is(await read(tcp), hostname());
  const { status, stderr } = await agnhost('serve-hostname', '--tcp', '--port=1');
  assert.is(status, 1);
  assert.match(stderr, "Can't server TCP/UDP mode and HTTP mode at the same time");
});

test('porter: each variable is a port, over HTTP and over TLS', async () => {
  const [http, tls] = [await freePort(), await freePort()];
  startAgnhost(['porter'], { [`SERVE_PORT_${http}`]: 'plain', [`SERVE_TLS_PORT_${tls}`]: 'secret' });
  assert.is((await page(`http://127.0.0.1:${http}/any`)).text, 'plain');
  const secret = await eventually(
    () =>
      new Promise<string>((resolve, reject) => {
        const outgoing = request({ host: '127.0.0.1', port: tls, rejectUnauthorized: false }, (response) => {
          response.setEncoding('utf8').once('data', resolve);
        });
        outgoing.on('error', reject).end();
      }),
  );
  assert.is(secret, 'secret');
});

test('tcp-reset: one byte is answered by a FIN, more by a reset', async () => {
  const port = await freePort();
  startAgnhost(['tcp-reset', `--port=${port}`]);
  assert.is(await read(port, '1'), '');
  assert.is(await read(port, '12'), 'ECONNRESET');
});

test('guestbook: a replica has what the primary is given, before and after it registered', async () => {
  const [primary, replica] = [await freePort(), await freePort()];
  startAgnhost(['guestbook', `--http-port=${primary}`, `--backend-port=${replica}`]);
  assert.is((await page(`http://127.0.0.1:${primary}/set?key=a&value=1`)).text, '{"message":"Updated"}');
  // The replica reaches its primary at the backend port: here that is where the primary listens.
  startAgnhost(['guestbook', `--http-port=${replica}`, `--backend-port=${primary}`, '--replicaof=127.0.0.1']);
  await eventually(async () =>
    (await page(`http://127.0.0.1:${replica}/get?key=a`)).text === '{"data":"1"}' ? true : undefined,
  );
  await page(`http://127.0.0.1:${primary}/set?key=b&value=2`);
  assert.is((await page(`http://127.0.0.1:${replica}/get`)).text, '{"data":{"a":"1","b":"2"}}');
  assert.is((await page(`http://127.0.0.1:${primary}/set?value=2`)).status, 400);
});

test('no-snat-test: the address that others see is compared with the own one', async () => {
  const port = await freePort();
  startAgnhost(['no-snat-test', `--port=${port}`], { POD_IP: '127.0.0.1', NODE_IP: '10.0.0.1' });
  assert.match((await page(`http://127.0.0.1:${port}/whoami`)).text, /^127\.0\.0\.1:\d+$/);
  const fine = await page(`http://127.0.0.1:${port}/checknosnat?ips=127.0.0.1:${port}`);
  assert.equal(fine, { status: 200, text: '' });
  const other = await freePort();
  startAgnhost(['no-snat-test', `--port=${other}`], { POD_IP: '10.1.1.1', NODE_IP: '127.0.0.1' });
  const wrong = await page(`http://127.0.0.1:${other}/checknosnat?ips=127.0.0.1:${port}`);
  assert.is(wrong.status, 500);
  assert.match(wrong.text, '== my Node ip "127.0.0.1" - SNAT');
  assert.match((await agnhost('no-snat-test')).stderr, 'POD_IP env var was not present in the environment');
});

test('grpc-health-checking: SERVING until it is changed; unknown services are NOT_FOUND', async () => {
  const [port, http] = [await freePort(), await freePort()];
  startAgnhost(['grpc-health-checking', `--port=${port}`, `--http-port=${http}`]);
  const check = async (service = '') => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    const stream = session.request({ ':method': 'POST', ':path': '/grpc.health.v1.Health/Check' });
    const name = Buffer.from(service);
    const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    let [body, status] = [Buffer.alloc(0), ''];
    stream.on('response', (headers) => (status = String(headers['grpc-status'] ?? status)));
    stream.on('trailers', (headers) => (status = String(headers['grpc-status'])));
    stream.on('data', (chunk: Buffer) => (body = Buffer.concat([body, chunk])));
    await once(stream, 'close');
    session.close();
    return { status, body: body.toString('hex') };
  };
  await page(`http://127.0.0.1:${http}/make-serving`);
  assert.equal(await check(), { status: '0', body: '00000000020801' });
  await page(`http://127.0.0.1:${http}/make-not-serving`);
  assert.equal(await check(), { status: '0', body: '00000000020802' });
  assert.equal(await check('other'), { status: '5', body: '' });
});

test('net: the server sends its FIN, the client sees the end of the data and keeps its side open', async () => {
  const port = await freePort();
  const place = `127.0.0.1:${port}`;
  const server = startAgnhost([
    'net',
    '--runner=nat-closewait-server',
    `--options={"LocalAddr":"${place}","PostFinTimeoutSeconds":1}`,
  ]);
  const client = await eventually(async () => {
    const ran = await agnhost(
      'net',
      '--runner',
      'nat-closewait-client',
      '--options',
      `{"RemoteAddr":"${place}","TimeoutSeconds":5,"PostFinTimeoutSeconds":0}`,
    );
    return ran.status === 0 ? ran : undefined;
  });
  assert.match(
    client.stdout,
    /# Connected to server\n# Server has half-closed the connection, waiting 0 seconds\n# Done/,
  );
  assert.is(await server.ended, 0);
  assert.match(server.log(), '# Server sent FIN, waiting 1 seconds');
  assert.match((await agnhost('net', '--runner=other', '--options={}')).stderr, "Invalid runner: 'other'");
});

test('test-webserver: the files of the container', async () => {
  const port = await freePort();
  startAgnhost(['test-webserver', `--port=${port}`]);
  assert.match((await page(`http://127.0.0.1:${port}/etc/hosts`)).text, 'localhost');
  assert.equal(await page(`http://127.0.0.1:${port}/no/such/file`), { status: 404, text: '404 page not found\n' });
  assert.match((await page(`http://127.0.0.1:${port}/etc/`)).text, '<a href="hosts">hosts</a>');
});

test('entrypoint-tester, etc-hosts, dns-suffix, dns-server-list and pause', async () => {
  assert.match((await agnhost('entrypoint-tester', 'some', 'args')).stdout, /^\[\S+ entrypoint-tester some args\]\n$/);
  assert.is((await agnhost('etc-hosts')).stdout, execFileSync('cat', ['/etc/hosts'], { encoding: 'utf8' }));
  assert.match((await agnhost('dns-suffix')).stdout, /^[^\n]*\n$/);
  assert.match((await agnhost('dns-server-list')).stdout, /^[\d.:a-f,]*\n$/);
  const paused = startAgnhost(['pause']);
  await eventually(async () => (paused.log() === 'Paused\n' ? true : undefined));
  paused.child.kill('SIGTERM');
  assert.is(await paused.ended, 0);
});

test('logs-generator: as many lines as asked for, numbered, within the duration', async () => {
  const startedMs = Date.now();
  const { stderr } = await agnhost('logs-generator', '-t', '5', '-d', '500ms');
  assert.ok(Date.now() - startedMs >= 500);
  const lines = stderr.trim().split('\n');
  assert.is(lines.length, 5);
  lines.forEach((line, i) => {
    assert.match(
      line,
      new RegExp(
        `^I\\d{4} \\S+ +\\d+ logs_generator.go:76\\] ${i} (GET|POST|PUT) /api/v1/namespaces/\\S+/pods/\\S+ \\d{3}$`,
      ),
    );
  });
});

test('an unknown command is refused, with a list of the commands', async () => {
  const { status, stderr } = await agnhost('webhook');
  assert.is(status, 1);
  assert.match(stderr, /^Error: unknown command "webhook" for "agnhost": here it has\n {2}connect\n/);
});

test.run();
