/** Messages of applications as Hubble's flows. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printCompact } from '../../../../src/observe/hubble/print.ts';
import {
  DNS_ANSWER,
  DNS_QUERY,
  HTTP_REQUEST,
  HTTP_RESPONSE,
  maker,
  messageOf,
  NO_SUCH_NAME,
  TIME,
  TO_OUTSIDE,
} from '../../../lib/flows.ts';

const PLAIN = { nodeName: false, numeric: false };
const AT = 'Nov  8 13:04:05.120: ';

test('a query and its answer, as Hubble has them', () => {
  const made = maker();
  const [query] = made.of(messageOf('n1', DNS_QUERY), TIME);
  const [answer] = made.of(messageOf('n1', DNS_ANSWER), TIME);
  assert.match(
    printCompact(query!, PLAIN).slice(AT.length),
    /^default\/client:40000 \(ID:\d+\) -> 172\.18\.0\.11:53 \(host\) dns-request packet FORWARDED \(DNS Query www\.example\.com\. A\)$/,
  );
  assert.match(
    printCompact(answer!, PLAIN).slice(AT.length),
    /^default\/client:40000 \(ID:\d+\) <- 172\.18\.0\.11:53 \(host\) dns-response packet FORWARDED \(DNS Answer "192\.0\.2\.7" CNAMEs: "www\.example\.net\." TTL: 30 \(Query www\.example\.com\. A\)\)$/,
  );
  assert.equal(answer?.l7, {
    type: 'RESPONSE',
    latency_ns: '2500000',
    dns: {
      query: 'www.example.com.',
      ips: ['192.0.2.7'],
      ttl: 30,
      cnames: ['www.example.net.'],
      observation_source: 'packet',
      qtypes: ['A'],
      rrtypes: ['CNAME', 'A'],
    },
  });
  assert.equal([answer?.Type, answer?.event_type, answer?.is_reply], ['L7', { type: 129 }, true]);
  assert.equal([query?.traffic_direction, query?.l7?.type], ['EGRESS', 'REQUEST']);
});

test('an answer that was seen only after translation has the server of its query', () => {
  const made = maker();
  made.of(messageOf('n1', DNS_QUERY), TIME);
  const [answer] = made.of(messageOf('n1', { ...DNS_ANSWER, server: DNS_ANSWER.asked }), TIME);
  assert.equal([answer?.IP?.source, answer?.l7?.latency_ns], ['172.18.0.11', '2500000']);
});

test('a name that does not exist has its return code', () => {
  const [answer] = maker().of(messageOf('n1', NO_SUCH_NAME), TIME);
  assert.is(answer?.Summary, 'DNS Answer RCode: Non-Existent Domain TTL: 0 (Query none.shop.svc.cluster.local. A)');
  assert.is(answer?.l7?.dns?.rcode, 3);
});

test('an address outside has the name that its client looked it up by, for that client only', () => {
  const made = maker();
  const connect = (src: string) =>
    made.of({ node: 'n1', kind: 'NEW', flow: { ...TO_OUTSIDE, original: { ...TO_OUTSIDE.original, src } } }, TIME)[0]!;
  assert.is(connect('10.244.1.2').destination_names, undefined);
  made.of(messageOf('n1', DNS_ANSWER), TIME);
  assert.equal(connect('10.244.1.2').destination_names, ['www.example.com']);
  assert.match(printCompact(connect('10.244.1.2'), PLAIN), / -> www\.example\.com:443 \(world\) /);
  assert.is(connect('10.244.2.3').destination_names, undefined);
  const pod = { ...DNS_ANSWER, message: { ...DNS_ANSWER.message, addresses: ['10.244.2.2'] } } as typeof DNS_ANSWER;
  made.of(messageOf('n1', pod), TIME);
  const reply = { src: '10.244.2.2', srcPort: 80, dst: '10.244.1.2', dstPort: 40001 };
  const [toPod] = made.of({ node: 'n1', kind: 'NEW', flow: { ...TO_OUTSIDE, reply } }, TIME);
  assert.is(toPod?.destination_names, undefined);
});

test('a response of HTTP has the request that it answers and the time it took', () => {
  const made = maker();
  const [request] = made.of(messageOf('n2', HTTP_REQUEST), TIME);
  const [response] = made.of(messageOf('n2', HTTP_RESPONSE), TIME);
  assert.match(
    printCompact(request!, PLAIN).slice(AT.length),
    /^default\/client:40000 \(ID:\d+\) -> shop\/web-7d4b9:8080 \(ID:\d+\) http-request FORWARDED \(HTTP\/1\.1 GET http:\/\/shop\/cart\?id=1\)$/,
  );
  assert.equal(request?.destination_service, { name: 'web', namespace: 'shop' });
  assert.is(response?.Summary, 'HTTP/1.1 204 12ms (GET http://shop/cart?id=1)');
  assert.equal(response?.l7?.http, { code: 204, method: 'GET', url: 'http://shop/cart?id=1', protocol: 'HTTP/1.1' });
  assert.equal([response?.traffic_direction, response?.is_reply], ['INGRESS', true]);
});

test('responses come in the order of their requests, and an interim one leaves its request waiting', () => {
  const made = maker();
  const ask = (url: string, timeMs: number) =>
    made.of(messageOf('n2', { ...HTTP_REQUEST, message: { ...HTTP_REQUEST.message, url } as never, timeMs }), TIME);
  const answer = (code: number, timeMs: number) =>
    made.of(
      messageOf('n2', { ...HTTP_RESPONSE, message: { ...HTTP_RESPONSE.message, code } as never, timeMs }),
      TIME,
    )[0]?.Summary;
  ask('/a', 0);
  ask('/b', 1);
  assert.is(answer(100, 2), 'HTTP/1.1 100 2ms (GET /a)');
  assert.is(answer(200, 5), 'HTTP/1.1 200 5ms (GET /a)');
  assert.is(answer(201, 9), 'HTTP/1.1 201 8ms (GET /b)');
  assert.is(answer(500, 9), 'HTTP/1.1 500', 'its request was not seen');
});

test('a message is reported once: by the node of the server, if that is observed', () => {
  const made = maker();
  assert.equal(made.of(messageOf('n1', HTTP_REQUEST), TIME), []);
  assert.is(made.of(messageOf('n2', HTTP_REQUEST), TIME).length, 1);
  assert.is(made.of(messageOf('n1', { ...HTTP_REQUEST, server: { ip: '192.0.2.7', port: 80 } }), TIME).length, 1);
});

test('requests without an answer do not accumulate', () => {
  const made = maker();
  for (let port = 1; port <= 5000; port++) {
    made.of(messageOf('n2', { ...HTTP_REQUEST, client: { ip: '10.244.1.2', port } }), TIME);
  }
  const respond = (port: number) =>
    made.of(messageOf('n2', { ...HTTP_RESPONSE, client: { ip: '10.244.1.2', port } }), TIME)[0]?.l7?.http?.url;
  assert.is(respond(1), undefined);
  assert.is(respond(5000), 'http://shop/cart?id=1');
});

test.run();
