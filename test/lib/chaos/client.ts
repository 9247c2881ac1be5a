/**
 * A client whose connections stay open for the whole run and check every byte: lines over TCP, numbered datagrams over UDP,
 * and a new HTTP connection every now and then. Events go to standard output, one JSON object a line; the totals follow
 * when standard input ends.
 *
 *   node client.js PLACE…     PLACE: tcp:IP:PORT:CONNECTIONS, udp:IP:PORT or http:IP:PORT
 */
import { createSocket } from 'node:dgram';
import { get } from 'node:http';
import { connect } from 'node:net';

/** Silences from this length on are reported. */
const GAP_MS = 200;
const TCP_EVERY_MS = 100;
const UDP_EVERY_MS = 20;
const HTTP_EVERY_MS = 200;
const HTTP_WITHIN_MS = 5000;

export type ChaosEvent =
  | { readonly event: 'gap'; readonly place: string; readonly from: number; readonly to: number }
  | { readonly event: 'lost'; readonly place: string; readonly at: number; readonly why: string }
  | { readonly event: 'wrong'; readonly place: string; readonly at: number; readonly why: string }
  /** `from`: when what failed was begun. */
  | {
      readonly event: 'failed';
      readonly place: string;
      readonly from: number;
      readonly at: number;
      readonly why: string;
    };

export interface ChaosTotals {
  readonly event: 'totals';
  readonly tcpConnections: number;
  readonly tcpReplies: number;
  readonly datagramsSent: number;
  readonly datagramsAnswered: number;
  readonly requests: number;
  readonly requestsFailed: number;
}

const totals = {
  tcpConnections: 0,
  tcpReplies: 0,
  datagramsSent: 0,
  datagramsAnswered: 0,
  requests: 0,
  requestsFailed: 0,
};
let ending = false;
const now = (): number => performance.timeOrigin + performance.now();
const report = (event: ChaosEvent): void => {
  if (!ending) process.stdout.write(`${JSON.stringify(event)}\n`);
};

/** Reports the silence before each reply, if it was long. */
function silenceWatch(place: string): () => void {
  let last = now();
  return () => {
    const at = now();
    if (at - last >= GAP_MS) report({ event: 'gap', place, from: last, to: at });
    last = at;
  };
}

function holdConnection(place: string, host: string, port: number): void {
  const heard = silenceWatch(place);
  const socket = connect({ host, port });
  let sent = 0;
  let expected = 0;
  let rest = '';
  let timer: NodeJS.Timeout | undefined;
  socket.setNoDelay(true);
  socket.setEncoding('utf8');
  socket.on('connect', () => {
    totals.tcpConnections++;
    timer = setInterval(() => socket.write(`${sent++}\n`), TCP_EVERY_MS);
  });
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (Number(line) !== expected) {
        report({ event: 'wrong', place, at: now(), why: `line ${JSON.stringify(line)} instead of ${expected}` });
        expected = Number(line);
      }
      expected++;
      totals.tcpReplies++;
    }
    heard();
  });
  socket.on('error', (error) => report({ event: 'lost', place, at: now(), why: error.message }));
  socket.on('end', () => report({ event: 'lost', place, at: now(), why: 'closed by the other side' }));
  socket.on('close', () => clearInterval(timer));
}

function sendDatagrams(place: string, host: string, port: number): void {
  const heard = silenceWatch(place);
  const socket = createSocket('udp4');
  let sent = 0;
  // Numbers of datagrams whose answer has come: a second one is a duplicate of the network.
  const answered = new Set<number>();
  socket.on('error', ({ message }) => report({ event: 'failed', place, from: now(), at: now(), why: message }));
  socket.on('message', (message) => {
    const number = Number(message.toString());
    if (!Number.isInteger(number) || number >= sent) {
      report({
        event: 'wrong',
        place,
        at: now(),
        why: `datagram ${JSON.stringify(message.toString())} was never sent`,
      });
    }
    if (!answered.has(number)) totals.datagramsAnswered++;
    answered.add(number);
    heard();
  });
  setInterval(() => {
    totals.datagramsSent++;
    socket.send(String(sent++), port, host, () => {});
  }, UDP_EVERY_MS);
}

function requestPages(place: string, host: string, port: number): void {
  setInterval(() => {
    totals.requests++;
    const from = now();
    const failed = (why: string): void => {
      totals.requestsFailed++;
      report({ event: 'failed', place, from, at: now(), why });
    };
    const request = get({ host, port, agent: false, timeout: HTTP_WITHIN_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('error', () => {});
      response.on('end', () => {
        if (body !== 'ok\n') report({ event: 'wrong', place, at: now(), why: `page ${JSON.stringify(body)}` });
      });
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${HTTP_WITHIN_MS} ms`)));
    request.on('error', (error) => failed(error.message));
  }, HTTP_EVERY_MS);
}

for (const place of process.argv.slice(2)) {
  const [kind, host = '', port = '', count = '1'] = place.split(':');
  if (kind === 'tcp') for (let n = Number(count); n > 0; n--) holdConnection(place, host, Number(port));
  else if (kind === 'udp') sendDatagrams(place, host, Number(port));
  else requestPages(place, host, Number(port));
}
process.stdin.resume().on('end', () => {
  ending = true;
  process.stdout.write(`${JSON.stringify({ event: 'totals', ...totals } satisfies ChaosTotals)}\n`, () =>
    process.exit(0),
  );
});
