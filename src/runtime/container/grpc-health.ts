/**
 * A gRPC probe (kubelet, pkg/probe/grpc): one call of grpc.health.v1.Health/Check, over HTTP/2 without TLS. The two
 * messages of that protocol have one field each, so nothing of gRPC is needed but its framing: a byte of flags and the
 * length of the message, four bytes, before it (gRPC over HTTP/2, "Length-Prefixed-Message").
 */
import { connect, constants, type IncomingHttpHeaders } from 'node:http2';

const PREFIX_BYTES = 5;
const MAX_RESPONSE_BYTES = 1024;
const UNIMPLEMENTED = '12';
/** HealthCheckResponse.ServingStatus. */
const STATUS_NAMES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];
/** Field 1 as text, and as a number (protobuf, "Encoding"). */
const TEXT_FIELD = 0x0a;
const NUMBER_FIELD = 0x08;
const MAX_SERVICE_BYTES = 127;

export interface GrpcTarget {
  host: string;
  port: number;
  /** The service to ask about; empty: the server as a whole. */
  service: string;
}

/** Resolves with the text of the probe's success. @throws Error in kubelet's terms */
export function checkGrpcHealth({ host, port, service }: GrpcTarget, timeoutMs: number): Promise<string> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    const session = connect(`http://${address}`);
    let connected = false;
    const finish = (error: string | undefined): void => {
      clearTimeout(timer);
      session.destroy();
      if (error === undefined) resolve('service healthy');
      else reject(new Error(error));
    };
    const timer = setTimeout(() => {
      const after = `${timeoutMs / 1000}s`;
      finish(
        connected
          ? `timeout: health rpc did not complete within ${after}`
          : `timeout: failed to connect service "${address}" within ${after}: context deadline exceeded`,
      );
    }, timeoutMs);
    session.once('connect', () => {
      connected = true;
    });
    session.on('error', (error) => finish(`error: failed to connect service at "${address}": ${error.message}`));
    session.once('close', () => finish(`error: health rpc failed: ${address} closed the connection`));
    const call = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: '/grpc.health.v1.Health/Check',
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      [constants.HTTP2_HEADER_TE]: 'trailers',
      [constants.HTTP2_HEADER_USER_AGENT]: 'kube-probe/1.32',
    });
    const status: IncomingHttpHeaders = {};
    const body: Buffer[] = [];
    let received = 0;
    call.on('response', (headers) => Object.assign(status, headers));
    call.on('trailers', (trailers) => Object.assign(status, trailers));
    call.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received > MAX_RESPONSE_BYTES) finish('error: health rpc failed: the response is too long');
      else body.push(chunk);
    });
    call.on('error', () => {}); // The session reports it.
    call.on('end', () => finish(faultIn(status, Buffer.concat(body))));
    call.end(requestOf(service));
  });
}

function requestOf(service: string): Buffer {
  const name = Buffer.from(service).subarray(0, MAX_SERVICE_BYTES);
  const message = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(TEXT_FIELD, name.length), name]);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Undefined if the service is healthy. */
function faultIn(status: IncomingHttpHeaders, body: Buffer): string | undefined {
  const code = status['grpc-status'];
  const text = decodeURIComponent(String(status['grpc-message'] ?? ''));
  if (code === UNIMPLEMENTED) {
    return `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${text}`;
  }
  if (code === undefined) return `error: health rpc failed: HTTP status ${status[':status']} without a gRPC status`;
  if (code !== '0') return `error: health rpc failed: rpc error: code = ${code} desc = ${text}`;
  const serving = servingStatus(body.subarray(PREFIX_BYTES));
  const name = STATUS_NAMES[serving] ?? String(serving);
  return name === 'SERVING' ? undefined : `service unhealthy (responded with "${name}")`;
}

/** A status of 0 is not sent. */
const servingStatus = (message: Buffer): number => (message[0] === NUMBER_FIELD ? (message[1] ?? 0) : 0);
