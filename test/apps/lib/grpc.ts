/**
 * gRPC servers and clients of the example applications: unary calls over HTTP/2 without TLS, with a schema in the text of a .proto
 * file (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A client has one connection, and opens another one when the
 * server says that it goes away.
 */
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import protobuf from 'protobufjs';

const HEALTH = protobuf.parse(`
syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { enum Status { UNKNOWN = 0; SERVING = 1; NOT_SERVING = 2; } Status status = 1; }
service Health { rpc Check (HealthCheckRequest) returns (HealthCheckResponse); }
`).root;
const DEADLINE_MS = 3000;
const Status = { OK: '0', UNKNOWN: '2', UNIMPLEMENTED: '12' } as const;
/** A flag for compression, and the length, before each message. */
const PREFIX_BYTES = 5;
const HEADERS = { ':status': 200, 'content-type': 'application/grpc' } as const;

type Message = Record<string, unknown>;
export type Methods = Readonly<Record<string, (request: never) => Message | Promise<Message>>>;

interface Method {
  readonly path: string;
  readonly request: protobuf.Type;
  readonly response: protobuf.Type;
}

function methodsOf(root: protobuf.Root, name: string): Map<string, Method> {
  const service = root.lookupService(name);
  return new Map(
    service.methodsArray.map((method) => [
      method.name,
      {
        path: `/${name}/${method.name}`,
        request: root.lookupType(`${packageOf(name)}.${method.requestType}`),
        response: root.lookupType(`${packageOf(name)}.${method.responseType}`),
      },
    ]),
  );
}

const packageOf = (name: string): string => name.slice(0, name.lastIndexOf('.'));

function frame(type: protobuf.Type, message: Message): Buffer {
  const body = type.encode(type.fromObject(message)).finish();
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

const unframe = (type: protobuf.Type, bytes: Buffer): Message =>
  type.toObject(type.decode(bytes.subarray(PREFIX_BYTES)), { defaults: true, longs: Number, enums: String });

/** Serves a service and grpc.health.v1.Health until SIGTERM; then open calls are finished. */
export function serveGrpc(port: number, root: protobuf.Root, name: string, methods: Methods): void {
  const served = new Map<string, { method: Method; run: (request: Message) => Message | Promise<Message> }>();
  const add = (of: protobuf.Root, service: string, all: Methods) => {
    for (const [title, method] of methodsOf(of, service)) {
      const run = all[title] as ((request: Message) => Message | Promise<Message>) | undefined;
      if (run !== undefined) served.set(method.path, { method, run });
    }
  };
  add(root, name, methods);
  add(HEALTH, 'grpc.health.v1.Health', { Check: () => ({ status: 'SERVING' }) });
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => void answer(stream, served.get(String(headers[':path']))));
  server.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  server.listen(port, '0.0.0.0', () => console.log(`serving ${name} on port ${port}`));
  process.once('SIGTERM', () => {
    server.close(() => process.exit(0));
    // Sends GOAWAY, and closes when the open streams have ended.
    for (const session of sessions) session.close();
  });
}

async function answer(
  stream: ServerHttp2Stream,
  call: { method: Method; run: (request: Message) => Message | Promise<Message> } | undefined,
): Promise<void> {
  stream.on('error', () => {});
  const fail = (status: string, message: string) =>
    stream.respond({ ...HEADERS, 'grpc-status': status, 'grpc-message': encodeURI(message) }, { endStream: true });
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    if (call === undefined) return fail(Status.UNIMPLEMENTED, 'there is no such method');
    const { method, run } = call;
    const response = frame(method.response, await run(unframe(method.request, Buffer.concat(chunks))));
    stream.respond(HEADERS, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': Status.OK }));
    stream.end(response);
  } catch (error) {
    console.error(`${call?.method.path}: ${(error as Error).message}`);
    if (!stream.destroyed) fail(Status.UNKNOWN, (error as Error).message);
  }
}

/** Calls of a service's methods by their names. @param address HOST:PORT */
export function grpcClient(root: protobuf.Root, name: string, address: string) {
  const methods = methodsOf(root, name);
  let session: ClientHttp2Session | undefined;
  const connected = (): ClientHttp2Session => {
    if (session !== undefined && !session.closed && !session.destroyed) return session;
    const made = connect(`http://${address}`);
    const forget = () => {
      if (session === made) session = undefined;
    };
    made.on('goaway', forget).on('close', forget).on('error', forget);
    session = made;
    return made;
  };
  const attempt = (method: Method, message: Message): Promise<Message> =>
    new Promise((resolve, reject) => {
      const stream = connected().request({
        ':method': 'POST',
        ':path': method.path,
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      const chunks: Buffer[] = [];
      let status: string | undefined;
      let text = '';
      const note = (headers: Record<string, unknown>) => {
        if (headers['grpc-status'] === undefined) return;
        status = String(headers['grpc-status']);
        text = decodeURI(String(headers['grpc-message'] ?? ''));
      };
      stream.on('response', note).on('trailers', note);
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      const fail = (reason: string) => reject(new Error(`${method.path.slice(1)}: ${reason}`));
      stream.setTimeout(DEADLINE_MS, () => stream.close());
      stream.on('error', (error) => fail(error.message));
      stream.on('close', () => {
        if (status === Status.OK) resolve(unframe(method.response, Buffer.concat(chunks)));
        else fail(status === undefined ? NO_ANSWER : text);
      });
      stream.end(frame(method.request, message));
    });
  return async <T>(title: string, message: Message = {}): Promise<T> => {
    const method = methods.get(title)!;
    try {
      return (await attempt(method, message)) as T;
    } catch (error) {
      // The server went away before it looked at the call: a new connection leads to another one.
      if (!/NGHTTP2_REFUSED_STREAM|GOAWAY|ECONNREFUSED|session/.test((error as Error).message)) throw error;
      return (await attempt(method, message)) as T;
    }
  };
}

const NO_ANSWER = `no answer within ${DEADLINE_MS} ms, or the connection was lost`;
