/** `/dial` of netexec: requests over HTTP or UDP to another server, one after the other, and what came of them. */
import { createSocket } from 'node:dgram';
import { resolveAddress } from './address.ts';
import { fetchText, type Handler, hostPort, plainError } from './http.ts';
import { log } from './log.ts';
import { describeError } from './network-error.ts';

const TIMEOUT_MS = 5000;

export const dial: Handler = async ({ form }, response) => {
  const [host, port, request, protocol, triesText] = ['host', 'port', 'request', 'protocol', 'tries'].map(
    (name) => form.get(name) ?? '',
  ) as [string, string, string, string, string];
  log(`GET /dial?host=${host}&protocol=${protocol}&port=${port}&request=${request}&tries=${triesText}`);
  const tries = triesText === '' ? 1 : /^[+-]?\d+$/.test(triesText) ? Number(triesText) : undefined;
  if (tries === undefined) {
    plainError(response, 400, `tries parameter is invalid. strconv.Atoi: parsing "${triesText}": invalid syntax`);
    return;
  }
  if (request === '') {
    plainError(response, 400, 'request parameter not specified. <nil>');
    return;
  }
  const kind = protocol.toLowerCase() || 'http';
  if (kind !== 'http' && kind !== 'udp') {
    plainError(response, 400, `unsupported protocol. ${protocol}`);
    return;
  }
  const resolved = await resolveAddress({ host, port }, kind === 'udp' ? 'udp' : 'tcp').catch((error: Error) => error);
  if (resolved instanceof Error) {
    plainError(response, 400, `host and/or port param are invalid. ${resolved.message}`);
    return;
  }
  const place = hostPort(resolved.address, resolved.port);
  const errors: string[] = [];
  const responses: string[] = [];
  let last = '';
  for (let i = 0; i < tries; i++) {
    try {
      last = '';
      last =
        kind === 'udp'
          ? await askUdp(request, resolved)
          : (await fetchText(`http://${place}/${request}`, TIMEOUT_MS)).text;
      responses.push(last);
    } catch (error) {
      errors.push((error as Error).message);
    }
  }
  // The responses are left out if the last one is empty.
  response.end(JSON.stringify({ ...(errors.length > 0 && { errors }), ...(last !== '' && { responses }) }));
};

function askUdp(text: string, to: { address: string; port: number; family: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(to.family === 6 ? 'udp6' : 'udp4');
    const fail = (what: string) => finish(() => reject(new Error(`reading from udp connection failed. err:'${what}'`)));
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.close();
      settle();
    };
    const timer = setTimeout(() => fail(`read udp ->${hostPort(to.address, to.port)}: i/o timeout`), TIMEOUT_MS);
    socket.once('error', (error: NodeJS.ErrnoException) =>
      fail(`read udp ->${hostPort(to.address, to.port)}: read: ${describeError(error)}`),
    );
    socket.once('message', (message) => finish(() => resolve(message.toString())));
    socket.connect(to.port, to.address, () => socket.send(text));
  });
}
