/**
 * `net`: a client and a server that leave a connection half closed, for tests of how long a node remembers it. By name on
 * the command line (`--runner`), or over HTTP (`--serve`).
 */
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { splitHostPort } from '../address.ts';
import { integer, parseFlags, text } from '../flags.ts';
import { plainError, serveHttp } from '../http.ts';
import { fatal, log } from '../log.ts';
import { describeError } from '../network-error.ts';

const FLAGS = { serve: text(), runner: text(), options: text(), 'delay-shutdown': integer(0) };

interface Options {
  LocalAddr?: string;
  RemoteAddr?: string;
  TimeoutSeconds?: number;
  PostFinTimeoutSeconds?: number;
  LeakConnection?: boolean;
}
type Runner = (options: Options, note: (line: string) => void) => Promise<void>;

const RUNNERS: Readonly<Record<string, Runner>> = {
  'nat-closewait-client': closeWaitClient,
  'nat-closewait-server': closeWaitServer,
};

export async function run(args: readonly string[]): Promise<void> {
  const { serve, runner, options, 'delay-shutdown': delay } = parseFlags(FLAGS, args).values;
  if (runner === '' && serve === '') fatal('Must set either --runner or --serve, see --help');
  if (delay > 0) {
    process.once('SIGTERM', () => {
      log(`Sleeping ${delay} seconds before terminating...`);
      setTimeout(() => process.exit(0), delay * 1000);
    });
  }
  if (serve === '') {
    const { output, error } = await execute(runner, options);
    if (error !== undefined) log(`Error: ${error}`);
    process.stdout.write(`output:\n\n${output}`);
    process.exit(error === undefined ? 0 : 1);
  }
  log(`Running server on ${serve}`);
  serveHttp(splitHostPort(serve).port, {
    '/': async ({ path, body }, response) => {
      const [, command, name = '', ...more] = path.split('/');
      if (command !== 'run' || more.length > 0)
        return plainError(response, command === 'run' ? 400 : 404, `invalid request to run: [${path}]`);
      const { output, error } = await execute(name, body.toString());
      if (error === undefined) response.end(`ok\noutput:\n\n${output}`);
      else plainError(response, 500, `Error from runner: ${error}\noutput:\n\n${output}`);
    },
  });
}

async function execute(name: string, text: string): Promise<{ output: string; error?: string }> {
  const runner = Object.hasOwn(RUNNERS, name) ? RUNNERS[name] : undefined;
  if (runner === undefined) return { output: '', error: `Invalid runner: '${name}', see --help` };
  let output = '';
  try {
    const options = JSON.parse(text) as Options;
    await runner(options, (line) => {
      output += `# ${line}\n`;
    });
    return { output };
  } catch (error) {
    return { output, error: describeError(error as NodeJS.ErrnoException) };
  }
}

/** Accepts one connection, sends its FIN, and keeps the other direction open. */
async function closeWaitServer({ LocalAddr = '', PostFinTimeoutSeconds = 0 }: Options, note: (line: string) => void) {
  const { host, port } = splitHostPort(LocalAddr);
  const server = createServer({ allowHalfOpen: true });
  const socket = await new Promise<Socket>((resolve, reject) => {
    server.once('error', reject);
    server.once('connection', resolve);
    server.listen({ port: Number(port), ...(host !== '' && { host }) }, () => note(`Server listening on ${LocalAddr}`));
  });
  note('Client connected');
  socket.on('error', () => {});
  socket.end();
  note(`Server sent FIN, waiting ${PostFinTimeoutSeconds} seconds`);
  await sleep(PostFinTimeoutSeconds * 1000);
  note('Done');
  socket.destroy();
  server.close();
}

/** Connects, waits for the server's FIN, and does not send its own. */
async function closeWaitClient(options: Options, note: (line: string) => void) {
  const { RemoteAddr = '', TimeoutSeconds = 0, PostFinTimeoutSeconds = 0, LeakConnection = false } = options;
  const { host, port } = splitHostPort(RemoteAddr);
  const socket = connect({ host: host || '127.0.0.1', port: Number(port), allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('connect', () => {
      note('Connected to server');
      if (TimeoutSeconds > 0) socket.setTimeout(TimeoutSeconds * 1000, () => reject(new Error('i/o timeout')));
    });
    socket.once('data', () => reject(new Error('Got data but expected EOF')));
    socket.once('end', resolve);
  });
  socket.setTimeout(0);
  note(`Server has half-closed the connection, waiting ${PostFinTimeoutSeconds} seconds`);
  if (LeakConnection) note('Leaking client connection (assigning to global variable)');
  await sleep(PostFinTimeoutSeconds * 1000);
  note('Done');
  if (!LeakConnection) socket.destroy();
}
