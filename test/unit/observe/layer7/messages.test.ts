/** Messages of applications in captured frames. */
import { encode } from 'dns-packet';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileFilter } from '../../../../native-free-dataplane/filter/compile.ts';
import { matches } from '../../../../native-free-dataplane/filter/run.ts';
import { Verdict } from '../../../../native-free-dataplane/verdicts.ts';
import type { CapturedPacket } from '../../../../src/observe/capture/packet.ts';
import { messageFilter, readMessages } from '../../../../src/observe/layer7/messages.ts';
import { viewOf } from '../../../lib/frames/frame-builder.ts';
import { frame } from '../../../lib/frames/frame-text.ts';

let number = 0;

interface Seen {
  readonly point: CapturedPacket['point'];
  readonly line: string;
  readonly payload: Uint8Array | string;
  readonly verdict?: number;
}

function captured({ point, line, payload, verdict = Verdict.SENT }: Seen): CapturedPacket {
  const bytes = frame(line, { payload });
  return {
    ...{ node: 'n1', worker: 0, port: 3, point, verdict, number, seconds: 5, nanoseconds: 250_000_000 },
    ...{ bytes, originalBytes: bytes.length, checksumPending: false, segmentBytes: 0, lostBefore: 0 },
  };
}

/** The messages of one packet, captured as received and as sent. */
function read(received: string, sent: string, payload: Uint8Array | string, verdict?: number) {
  number++;
  return readMessages([
    captured({ point: 'received', line: received, payload }),
    captured({ point: 'sent', line: sent, payload, ...(verdict !== undefined && { verdict }) }),
  ]);
}

const QUESTION = { type: 'A', name: 'web.default.svc.cluster.local' } as const;
const QUERY = encode({ type: 'query', id: 9, questions: [QUESTION] });
const ANSWER = encode({
  type: 'response',
  id: 9,
  questions: [QUESTION],
  answers: [
    { type: 'CNAME', name: QUESTION.name, ttl: 30, data: 'other.example.com' },
    { type: 'A', name: 'other.example.com', ttl: 5, data: '192.0.2.7' },
    { type: 'A', name: 'other.example.com', ttl: 9, data: '192.0.2.8' },
  ],
});
const ASKED = 'udp 10.244.1.2:4000 > 10.96.0.10:53';
const TRANSLATED = 'udp 10.244.1.2:4000 > 172.18.0.11:53';
const ANSWERED = 'udp 172.18.0.11:53 > 10.244.1.2:4000';
const TO_CLIENT = 'udp 10.96.0.10:53 > 10.244.1.2:4000';
const CLIENT = { ip: '10.244.1.2', port: 4000 };
const NAME_SERVER = { ip: '172.18.0.11', port: 53 };

test('a query and its answer have the client, the server after translation, and what the client asked for', () => {
  const [query] = read(ASKED, TRANSLATED, QUERY);
  const [answer] = read(ANSWERED, TO_CLIENT, ANSWER);
  for (const seen of [query, answer]) {
    assert.equal([seen?.client, seen?.server, seen?.asked], [CLIENT, NAME_SERVER, { ip: '10.96.0.10', port: 53 }]);
    assert.is(seen?.timeMs, 5250);
  }
  assert.is(query?.message.isReply, false);
  assert.match(JSON.stringify(query?.message), '"name":"web.default.svc.cluster.local.","type":"A"');
  assert.equal(answer?.message, {
    kind: 'dns',
    isReply: true,
    id: 9,
    name: 'web.default.svc.cluster.local.',
    type: 'A',
    rcode: 0,
    addresses: ['192.0.2.7', '192.0.2.8'],
    aliases: ['other.example.com.'],
    ttl: 5,
    answerTypes: ['CNAME', 'A'],
  });
});

test('inside the overlay, behind a masquerade and to a name server with another port', () => {
  const inner = 'udp 10.244.1.2:4000 > 10.244.2.5:5353';
  const [query] = read(ASKED, `vxlan 172.18.0.11:52001 > 172.18.0.12:4789 vni 1 (${inner})`, QUERY);
  assert.equal([query?.client, query?.server], [CLIENT, { ip: '10.244.2.5', port: 5353 }]);
  const [masqueraded] = read('udp 10.244.1.2:4000 > 192.0.2.53:53', 'udp 172.18.0.11:61000 > 192.0.2.53:53', QUERY);
  assert.equal(masqueraded?.client, CLIENT);
});

test('over TCP, if one segment has all of the message', () => {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(QUERY.length);
  const whole = Buffer.concat([length, QUERY]);
  const [line, sent] = [`${ASKED.replace('udp', 'tcp')} PA`, `${TRANSLATED.replace('udp', 'tcp')} PA`];
  assert.is(read(line, sent, whole).length, 1);
  assert.is(read(line, sent, whole.subarray(0, 20)).length, 0);
  assert.is(read(line, sent, '').length, 0);
});

test('what a client sends cannot write control characters to a terminal', () => {
  const question = encode({ type: 'query', id: 1, questions: [{ type: 'A', name: 'a\x1b[2J.é' }] });
  assert.match(JSON.stringify(read(ASKED, TRANSLATED, question)), '"a\\\\027[2J.\\\\195\\\\169."');
  const [request] = read(
    'tcp 10.244.1.2:1 > 10.244.1.3:80 PA',
    'tcp 10.244.1.2:1 > 10.244.1.3:80 PA',
    'GET /\xe9 HTTP/1.1\r\n\r\n',
  );
  assert.match(JSON.stringify(request?.message), '/%C3%A9');
  const control = 'GET /\x1b[2J HTTP/1.1\r\n\r\n';
  assert.is(read('tcp 10.244.1.2:1 > 10.244.1.3:80 PA', 'tcp 10.244.1.2:1 > 10.244.1.3:80 PA', control).length, 0);
});

const TO_WEB = ['tcp 10.244.1.2:4000 > 10.96.4.1:80 PA', 'tcp 10.244.1.2:4000 > 10.244.2.2:8080 PA'] as const;

test('the request line of HTTP with its host, and the status line', () => {
  const [request] = read(...TO_WEB, 'POST /cart?id=1 HTTP/1.1\r\nAccept: */*\r\nHost: shop:80\r\n\r\nbody');
  assert.equal(request?.message, {
    kind: 'http',
    isReply: false,
    method: 'POST',
    url: 'http://shop:80/cart?id=1',
    version: 'HTTP/1.1',
  });
  assert.equal(
    [request?.server, request?.asked],
    [
      { ip: '10.244.2.2', port: 8080 },
      { ip: '10.96.4.1', port: 80 },
    ],
  );
  const [response] = read(
    'tcp 10.244.2.2:8080 > 10.244.1.2:4000 PA',
    'tcp 10.96.4.1:80 > 10.244.1.2:4000 PA',
    'HTTP/1.0 404 Not Found\r\n',
  );
  assert.equal(response?.message, { kind: 'http', isReply: true, code: 404, version: 'HTTP/1.0' });
  assert.equal(response?.server, { ip: '10.244.2.2', port: 8080 });
});

test('a request line longer than its segment is cut, and marked', () => {
  const [request] = read(...TO_WEB, `GET /${'a'.repeat(500)}`);
  assert.match(JSON.stringify(request?.message), '/aaa');
  assert.ok(request?.message.kind === 'http' && !request.message.isReply && request.message.url.endsWith('a…'));
});

test('other payloads are no messages, whatever their bytes are', () => {
  for (const payload of ['GETTING started', 'HTTP', 'HTTP/2 200', 'SSH-2.0-OpenSSH\r\n', '\0\0\0\0', '']) {
    assert.equal(read(...TO_WEB, payload), [], payload);
  }
  for (const payload of ['', 'short', Buffer.alloc(12), Buffer.alloc(200, 0xc0), ANSWER.subarray(0, 40)]) {
    assert.equal(read(ASKED, TRANSLATED, payload), []);
  }
});

test('a packet that does not arrive has no message: its drop is an event', () => {
  assert.is(read(ASKED, TRANSLATED, QUERY, Verdict.WRITE_QUEUE_FULL).length, 0);
  number++;
  const received = captured({ point: 'received', line: ASKED, payload: QUERY, verdict: Verdict.POLICY_EGRESS });
  assert.equal(readMessages([received]), []);
});

test('packets next to each other are told apart by number and worker', () => {
  const frames = [QUERY, ANSWER].flatMap((payload) => {
    number++;
    return [
      captured({ point: 'received', line: ASKED, payload }),
      captured({ point: 'sent', line: TRANSLATED, payload }),
    ];
  });
  const more = frames.slice(2).map((one) => ({ ...one, worker: 1 }));
  assert.is(readMessages([...frames, ...more]).length, 3);
});

test('the filter lets through what has a message, also inside the overlay, and hardly anything else', () => {
  const program = compileFilter(messageFilter(true), { inside: true });
  const dns = compileFilter(messageFilter(false), { inside: true });
  const passes = (filter: Int32Array, line: string, payload: string): boolean => {
    const bytes = frame(line, { payload });
    return matches(filter, viewOf(bytes), 0, bytes.length, bytes.length);
  };
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH']) {
    assert.ok(passes(program, TO_WEB[0], `${method} / HTTP/1.1\r\n`), method);
    assert.not(passes(dns, TO_WEB[0], `${method} / HTTP/1.1\r\n`), method);
  }
  const overlay = `vxlan 172.18.0.11:52001 > 172.18.0.12:4789 vni 1 (${TO_WEB[0]})`;
  assert.ok(passes(program, overlay, 'HTTP/1.1 200 OK\r\n'));
  assert.ok(passes(dns, ASKED, 'x') && passes(dns, TO_CLIENT, 'x'));
  for (const payload of ['', 'SSH-2.0-OpenSSH\r\n', '\x16\x03\x01\x02', 'HELO mail']) {
    assert.not(passes(program, TO_WEB[0], payload), payload);
  }
});

test.run();
