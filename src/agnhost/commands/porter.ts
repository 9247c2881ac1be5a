/**
 * `porter`: serves the values of environment variables SERVE_PORT_N and SERVE_TCP_PORT_N over HTTP, SERVE_TLS_PORT_N over
 * HTTPS and SERVE_UDP_PORT_N over UDP, each on port N.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { boolean, parseFlags } from '../flags.ts';
import { type Handler, serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';
import { describeError } from '../network-error.ts';

const FLAGS = { 'json-response': boolean() };
const VARIABLE = /^SERVE_(?:(TCP|UDP|TLS|SCTP)_)?PORT_(.*)$/;

export async function run(args: readonly string[]): Promise<void> {
  const json = parseFlags(FLAGS, args).values['json-response'];
  let tls: { cert: string | Buffer; key: string | Buffer } | undefined;
  for (const [name, value = ''] of Object.entries(process.env)) {
    const [, protocol = 'TCP', port] = VARIABLE.exec(name) ?? [];
    if (port === undefined) continue;
    const handler: Handler = ({ method }, response) => {
      if (json) response.setHeader('Content-Type', 'application/json');
      response.end(json ? JSON.stringify({ Method: method, Body: value }) : value);
    };
    if (protocol === 'TCP') serveHttp(port, { '/': handler });
    else if (protocol === 'UDP') serveUdp(Number(port), value);
    else if (protocol === 'TLS') {
      tls ??= await certificate();
      serveHttp(port, { '/': handler }, tls);
    } else fatal(`Failed to listen SCTP. error: Node.js has no SCTP sockets`);
  }
  // Without any variable it waits too.
  setInterval(() => {}, 2 ** 30);
}

/** The files that are named in the environment; without them the certificate for localhost. */
async function certificate(): Promise<{ cert: string | Buffer; key: string | Buffer }> {
  const { CERT_FILE, KEY_FILE } = process.env;
  if (CERT_FILE && KEY_FILE) return { cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) };
  const { LOCALHOST_CERTIFICATE: cert, LOCALHOST_KEY: key } = await import('../localhost-certificate.ts');
  return { cert, key };
}

function serveUdp(port: number, value: string): void {
  const socket = createSocket('udp4');
  socket.on('error', (error) => fatal(`UDP: failed to listen on port ${port}: ${describeError(error)}`));
  socket.on('message', (_, from) => socket.send(value, from.port, from.address, () => {}));
  socket.bind(port, () => log(`Started UDP server on port ${port}`));
}
