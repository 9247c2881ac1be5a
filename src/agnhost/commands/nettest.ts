/**
 * `nettest`: every pod behind a Service sends to every other one and counts what it receives. `/status` says pass when enough
 * peers were reached and heard from. The peers are the addresses of the Service's Endpoints, read from the API.
 */
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { integer, parseFlags, text } from '../flags.ts';
import { fetchText, serveHttp } from '../http.ts';
import { log } from '../log.ts';

const FLAGS = {
  port: integer(8080),
  peers: integer(8),
  service: text('nettest'),
  namespace: text('default'),
  'delay-shutdown': integer(0),
};
const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const ROUNDS = 15;
const MAX_LOG = 500;
const SEND_MS = 30_000;

interface Subset {
  addresses?: { ip: string }[];
  ports?: { port: number }[];
}

const state = {
  Hostname: hostname(),
  Sent: {} as Record<string, number>,
  Received: {} as Record<string, number>,
  Errors: [] as string[],
  Log: [] as string[],
  StillContactingPeers: true,
};

function note(line: string): void {
  state.Log.push(line);
  if (state.Log.length > MAX_LOG) state.Log.shift();
}

export function run(args: readonly string[]): void {
  const { port, peers, service, namespace, 'delay-shutdown': delay } = parseFlags(FLAGS, args).values;
  if (delay > 0) {
    process.once('SIGTERM', () => {
      log(`Sleeping ${delay} seconds before exit ...`);
      setTimeout(() => process.exit(0), delay * 1000);
    });
  }
  void contactPeers(namespace, service, peers);
  serveHttp(port, {
    '/quit': () => process.exit(0),
    '/read': (_, response) => {
      response.end(JSON.stringify(state, null, '\t'));
    },
    '/write': ({ body }, response) => {
      const { Source } = JSON.parse(body.toString()) as { Source?: string };
      if (!Source) state.Errors.push(`${state.Hostname}: Got request with no source`);
      else state.Received[Source] = (state.Received[Source] ?? 0) + 1;
      response.end(`${JSON.stringify({ Hostname: state.Hostname })}\n`);
    },
    '/status': (_, response) => {
      const [sent, received] = [Object.keys(state.Sent).length, Object.keys(state.Received).length];
      if (sent >= peers && received >= peers) response.end('pass');
      else if (state.StillContactingPeers) response.end('running');
      else {
        note(
          `Declaring failure for ${namespace}/${service} with ${sent} sent and ${received} received and ${peers} peers`,
        );
        response.end('fail');
      }
    },
  });
}

async function contactPeers(namespace: string, service: string, peers: number): Promise<void> {
  const pauseMs = Math.max(5, Math.floor(peers / 10)) * 1000;
  const deadline = Date.now() + Math.max(300, peers) * 1000;
  while (Date.now() < deadline) {
    const found = await endpoints(namespace, service);
    if (found.length >= peers) break;
    note(`${namespace}/${service} has ${found.length} endpoints (${found.join(' ')}), which is less than ${peers}`);
    await sleep(pauseMs);
  }
  // More than once: an endpoint may be new, and a pod may not be reachable everywhere yet.
  for (let round = 0; round < ROUNDS; round++) {
    for (const place of await endpoints(namespace, service)) await contact(place);
    await sleep(pauseMs);
  }
  state.StillContactingPeers = false;
}

async function contact(place: string): Promise<void> {
  note(`Attempting to contact ${place}`);
  const body = JSON.stringify({ Dest: place, Source: state.Hostname });
  try {
    const { text: answer } = await fetchText(`${place}/write`, SEND_MS, body);
    const { Hostname } = JSON.parse(answer) as { Hostname: string };
    state.Sent[Hostname] = (state.Sent[Hostname] ?? 0) + 1;
  } catch (error) {
    note(`Warning: unable to contact the endpoint "${place}": ${(error as Error).message}`);
  }
}

/** Places such as `http://10.244.1.2:8080`; none if the API cannot be read. */
async function endpoints(namespace: string, service: string): Promise<string[]> {
  try {
    const object = JSON.parse(await readApi(`/api/v1/namespaces/${namespace}/endpoints/${service}`)) as {
      subsets?: Subset[];
    };
    return (object.subsets ?? []).flatMap(({ addresses = [], ports = [] }) =>
      addresses.flatMap(({ ip }) => ports.map(({ port }) => `http://${ip}:${port}`)),
    );
  } catch (error) {
    note(`Unable to read the endpoints for ${namespace}/${service}: ${(error as Error).message}.`);
    return [];
  }
}

/** A path of the API, with the pod's own account. */
function readApi(path: string): Promise<string> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  const options = {
    host,
    port,
    path,
    ca: readFileSync(`${ACCOUNT}/ca.crt`),
    headers: { Authorization: `Bearer ${readFileSync(`${ACCOUNT}/token`, 'utf8').trim()}` },
    agent: false as const,
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () =>
        response.statusCode === 200 ? resolve(body) : reject(new Error(`status ${response.statusCode}`)),
      );
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
