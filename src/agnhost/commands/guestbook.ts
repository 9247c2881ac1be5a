/**
 * `guestbook`: a store of keys and values over HTTP. A replica registers with its primary, which passes every change on to
 * it; `/guestbook` passes a request on to the Services agnhost-primary (set) or agnhost-replica (get).
 */
import { createSocket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveAddress } from '../address.ts';
import { parseFlags, text } from '../flags.ts';
import { fetchText, type Handler, hostPort, plainError, serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';

const FLAGS = { 'http-port': text('80'), 'backend-port': text('6379'), replicaof: text() };
const REGISTER_MS = 15_000;
const RETRY_MS = 1000;
const TIMEOUT_MS = 5000;

let store = new Map<string, string>();
const replicas: string[] = [];

export function run(args: readonly string[]): void {
  const { 'http-port': port, 'backend-port': backendPort, replicaof } = parseFlags(FLAGS, args).values;
  if (replicaof !== '') void register(replicaof, backendPort);
  serveHttp(port, {
    '/register': ({ form }, response) => {
      const host = form.get('host') ?? '';
      log(`GET /register?host=${host}`);
      response.end(JSON.stringify({ data: Object.fromEntries(store) }));
      replicas.push(host);
      log(`Node '${host}' registered.`);
    },
    '/get': ({ form }, response) => {
      const key = form.get('key') ?? '';
      log(`GET /get?key=${key}`);
      response.end(JSON.stringify({ data: key === '' ? Object.fromEntries(store) : (store.get(key) ?? '') }));
    },
    '/set': set(backendPort),
    '/guestbook': passOn(backendPort),
  });
}

const set =
  (backendPort: string): Handler =>
  async ({ form }, response) => {
    const [key, value] = [form.get('key') ?? '', form.get('value') ?? ''];
    log(`GET /set?key=${key}&value=${value}`);
    if (key === '') return plainError(response, 400, 'cannot set with empty key.');
    store.set(key, value);
    for (const replica of replicas) {
      try {
        await fetchText(`http://${hostPort(replica, backendPort)}/set?${query({ key, value })}`, TIMEOUT_MS);
      } catch (error) {
        const reason = (error as Error).message;
        return plainError(response, 417, `encountered error while propagating to replica '${replica}': ${reason}`);
      }
    }
    response.end(JSON.stringify({ message: 'Updated' }));
  };

const passOn =
  (backendPort: string): Handler =>
  async ({ form }, response) => {
    const [key, value] = [form.get('key') ?? '', form.get('value') ?? ''];
    const command = (form.get('cmd') ?? '').toLowerCase();
    log(`GET /guestbook?cmd=${command}&key=${key}&value=${value}`);
    if (command !== 'get' && command !== 'set') return plainError(response, 400, `unsupported cmd: '${command}'`);
    if (command === 'set' && key === '') return plainError(response, 400, 'cannot set with empty key.');
    const host = command === 'get' ? 'agnhost-replica' : 'agnhost-primary';
    try {
      const { text: answer } = await fetchText(
        `http://${hostPort(host, backendPort)}/${command}?${query({ key, value })}`,
        TIMEOUT_MS,
      );
      response.end(answer);
    } catch (error) {
      plainError(response, 417, `encountered error: ${(error as Error).message}`);
    }
  };

const query = (fields: Record<string, string>): string => new URLSearchParams(fields).toString();

async function register(primary: string, port: string): Promise<void> {
  for (const deadline = Date.now() + REGISTER_MS; Date.now() < deadline; await sleep(RETRY_MS)) {
    try {
      const own = await ownAddress(await resolveAddress({ host: primary, port }, 'udp'));
      log(`Registering to primary: ${hostPort(primary, port)}/register?host=${own}`);
      const { text: answer } = await fetchText(`http://${hostPort(primary, port)}/register?host=${own}`, TIMEOUT_MS);
      store = new Map(Object.entries((JSON.parse(answer) as { data: Record<string, string> }).data));
      log(`Registered to node: ${primary}`);
      return;
    } catch (error) {
      log(`encountered error while registering to primary: ${(error as Error).message}. Retrying in 1s.`);
    }
  }
  fatal('Timed out while registering to primary.');
}

/** The address this host has on the way to another. */
function ownAddress(to: { address: string; port: number; family: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(to.family === 6 ? 'udp6' : 'udp4');
    socket.once('error', reject);
    socket.connect(to.port, to.address, () => {
      resolve(socket.address().address);
      socket.close();
    });
  });
}
