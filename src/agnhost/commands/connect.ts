/**
 * `connect HOST:PORT`: one attempt. Silent with status 0 if it succeeds; else one line on standard error that begins with
 * UNKNOWN, TIMEOUT, DNS, REFUSED or OTHER, and status 1.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { resolveAddress, splitHostPort } from '../address.ts';
import { duration, parseFlags, text, UsageError } from '../flags.ts';
import { hostPort } from '../http.ts';
import { describeError } from '../network-error.ts';

const FLAGS = {
  timeout: duration(),
  protocol: text('tcp'),
  'udp-data': text('hostname'),
  'sctp-data': text('hostname'),
};

export async function run(args: readonly string[]): Promise<void> {
  const { values, operands } = parseFlags(FLAGS, args);
  const [destination, ...more] = operands;
  if (destination === undefined || more.length > 0)
    throw new UsageError(`accepts 1 arg(s), received ${operands.length}`);
  const failure = await attempt(destination, values.protocol, values.timeout, values['udp-data']);
  if (failure === undefined) process.exit(0);
  process.stderr.write(`${failure}\n`);
  process.exit(1);
}

/** The line that describes the failure; undefined after a success. @param timeoutMs 0: as long as the kernel tries */
async function attempt(
  destination: string,
  protocol: string,
  timeoutMs: number,
  data: string,
): Promise<string | undefined> {
  switch (protocol) {
    case '':
    case 'tcp':
      return connectTcp(destination, timeoutMs);
    case 'udp':
      return connectUdp(destination, timeoutMs, data);
    case 'sctp':
      return 'OTHER: protocol not supported: Node.js has no SCTP sockets';
    default:
      return `Unsupported protocol\n${protocol}`;
  }
}

async function connectTcp(destination: string, timeoutMs: number): Promise<string | undefined> {
  let parts: ReturnType<typeof splitHostPort>;
  try {
    parts = splitHostPort(destination);
  } catch (error) {
    return `UNKNOWN: ${(error as Error).message}`;
  }
  const resolved = await resolveAddress(parts, 'tcp').catch((error: Error) => error);
  if (resolved instanceof Error) return `DNS: ${resolved.message}`;
  return new Promise((resolve) => {
    const socket = connect(resolved.port, resolved.address);
    const finish = (failure?: string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(failure);
    };
    const timer = timeoutMs > 0 ? setTimeout(() => finish('TIMEOUT'), timeoutMs) : undefined;
    socket.once('connect', () => finish());
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') finish('REFUSED');
      else if (error.code === 'ETIMEDOUT') finish('TIMEOUT');
      else finish(`OTHER: dial tcp ${hostPort(resolved.address, resolved.port)}: connect: ${describeError(error)}`);
    });
  });
}

/** A datagram, and its answer. */
async function connectUdp(destination: string, timeoutMs: number, data: string): Promise<string | undefined> {
  let resolved: Awaited<ReturnType<typeof resolveAddress>>;
  try {
    resolved = await resolveAddress(splitHostPort(destination), 'udp');
  } catch (error) {
    return `DNS: ${(error as Error).message}`;
  }
  const { address, port, family } = resolved;
  return new Promise((resolve) => {
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
    const finish = (failure?: string) => {
      clearTimeout(timer);
      socket.close();
      resolve(failure);
    };
    const ends = () => {
      const local = socket.address();
      return `${hostPort(local.address, local.port)}->${hostPort(address, port)}`;
    };
    const timer =
      timeoutMs > 0 ? setTimeout(() => finish(`TIMEOUT: read udp ${ends()}: i/o timeout`), timeoutMs) : undefined;
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') finish(`REFUSED: read udp ${ends()}: read: connection refused`);
      else finish(`UNKNOWN: write udp ${hostPort(address, port)}: write: ${describeError(error)}`);
    });
    socket.once('message', (message) => {
      if (message.length > 0) finish();
      else finish('OTHER: No data received from the server. Cannot guarantee the server received the request.');
    });
    socket.connect(port, address, () => socket.send(`${data}\n`));
  });
}
