/**
 * Many short TCP connections, one program for both ends. The server closes first, so that it is the side in TIME_WAIT:
 * its kernel refuses a reused port whose sequence number is not beyond the old connection's.
 *
 *   node short-connections.js serve PORT
 *   node short-connections.js connect HOST PORT COUNT [FIRST-LAST ADDRESS…]   # from these ports, of each address in turn
 */
import { connect, createServer } from 'node:net';

export interface Outcome {
  readonly done: number;
  /** How many failed, by the system's name of the error. */
  readonly failed: Readonly<Record<string, number>>;
  readonly perSecond: number;
  /** The longest time that a connection took to its end. */
  readonly slowestMs: number;
  /** The lowest and the highest source port that the server saw. */
  readonly ports: readonly [lowest: number, highest: number];
}

const PARALLEL = 32;
const TIMEOUT_MS = 10_000;

function serve(port: number): void {
  createServer((socket) => {
    socket.on('error', () => {});
    socket.end(String(socket.remotePort));
  }).listen(port, '0.0.0.0', 4096);
}

interface Local {
  localAddress: string;
  localPort: number;
}

/** The places to connect from, round and round; nothing where the kernel is to choose. */
function* locals(range: string | undefined, addresses: readonly string[]): Generator<Local | undefined> {
  const [first = 0, last = 0] = (range ?? '').split('-').map(Number);
  for (;;) {
    if (range === undefined) yield undefined;
    for (let localPort = first; range !== undefined && localPort <= last; localPort++) {
      for (const localAddress of addresses) yield { localAddress, localPort };
    }
  }
}

async function connectMany(host: string, port: number, count: number, from: Iterator<Local | undefined>) {
  const failed: Record<string, number> = {};
  let [begun, done, slowestMs] = [0, 0, 0];
  let [lowest, highest] = [65_535, 0];
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const start = performance.now();
      const socket = connect({ host, port, ...from.next().value });
      socket.setTimeout(TIMEOUT_MS, () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
      let code: string | undefined;
      let answer = '';
      socket.setEncoding('utf8').on('data', (text: string) => {
        answer += text;
      });
      socket.on('error', (error: NodeJS.ErrnoException) => {
        code = error.code ?? error.message;
      });
      socket.on('close', () => {
        if (code === undefined && answer !== '') {
          done++;
          lowest = Math.min(lowest, Number(answer));
          highest = Math.max(highest, Number(answer));
        } else failed[code ?? 'no answer'] = (failed[code ?? 'no answer'] ?? 0) + 1;
        slowestMs = Math.max(slowestMs, performance.now() - start);
        resolve();
      });
    });
  const start = performance.now();
  const line = async (): Promise<void> => {
    while (begun++ < count) await one();
  };
  await Promise.all(Array.from({ length: PARALLEL }, line));
  const perSecond = Math.round((done * 1000) / (performance.now() - start));
  return { done, failed, perSecond, slowestMs: Math.round(slowestMs), ports: [lowest, highest] } satisfies Outcome;
}

const [role, ...args] = process.argv.slice(2);
if (role === 'serve') serve(Number(args[0]));
else {
  const [host = '', port, count, range, ...addresses] = args;
  console.log(JSON.stringify(await connectMany(host, Number(port), Number(count), locals(range, addresses))));
}
