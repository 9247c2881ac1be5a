/**
 * `grpc-health-checking`: the service grpc.health.v1.Health over HTTP/2, and an HTTP server that changes its status. Check
 * alone is served; its two messages have one field each, so they are read and written here
 * (https://github.com/grpc/grpc/blob/master/doc/health-checking.md, PROTOCOL-HTTP2.md).
 */
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { printDuration } from '../duration.ts';
import { integer, parseFlags, text } from '../flags.ts';
import { serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';
import { describeError } from '../network-error.ts';

const FLAGS = {
  port: integer(5000),
  'http-port': integer(8080),
  'delay-unhealthy-sec': integer(-1),
  service: text(),
};
const SERVING = 1;
const NOT_SERVING = 2;
const Status = { OK: 0, NOT_FOUND: 5, UNIMPLEMENTED: 12 } as const;
/** Compressed flag and length before each message. */
const PREFIX_BYTES = 5;

export function run(args: readonly string[]): void {
  const { port, 'http-port': httpPort, 'delay-unhealthy-sec': delay, service } = parseFlags(FLAGS, args).values;
  const startedMs = Date.now();
  let forced: number | undefined;
  const sinceStart = () => printDuration(Date.now() - startedMs);
  log(`Http server starting to listen on :${httpPort}`);
  serveHttp(httpPort, {
    '/make-not-serving': (_, response) => {
      log('Mark as unhealthy');
      forced = NOT_SERVING;
      response.end(sinceStart());
    },
    '/make-serving': (_, response) => {
      log('Mark as healthy');
      forced = SERVING;
      response.end(sinceStart());
    },
  });
  const server = createServer();
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      if (headers[':path'] !== '/grpc.health.v1.Health/Check')
        return answer(stream, Status.UNIMPLEMENTED, 'unimplemented');
      log('Serving the Check request for health check');
      if (serviceIn(Buffer.concat(chunks)) !== service) return answer(stream, Status.NOT_FOUND, 'unknown service');
      const late = delay >= 0 && Date.now() - startedMs >= delay * 1000;
      answer(stream, Status.OK, '', forced ?? (late ? NOT_SERVING : SERVING));
    });
  });
  server.on('error', (error: NodeJS.ErrnoException) =>
    fatal(`Error while starting the listening service listen tcp :${port}: bind: ${describeError(error)}`),
  );
  server.listen(port, () => log(`gRPC server starting to listen on :${port}`));
}

/** Field 1 of HealthCheckRequest, a string; empty if it is absent. */
function serviceIn(frame: Buffer): string {
  const message = frame.subarray(PREFIX_BYTES);
  if (message.length < 2 || message[0] !== 0x0a) return '';
  return message.subarray(2, 2 + message[1]!).toString();
}

function answer(stream: ServerHttp2Stream, code: number, message: string, serving?: number): void {
  const trailers = { 'grpc-status': String(code), ...(message !== '' && { 'grpc-message': message }) };
  const headers = { ':status': 200, 'content-type': 'application/grpc' };
  if (serving === undefined) {
    // A response without a message is only its trailers.
    stream.respond({ ...headers, ...trailers }, { endStream: true });
    return;
  }
  stream.respond(headers, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 0x08, serving]));
}
