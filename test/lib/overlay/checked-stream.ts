/**
 * Bulk TCP with verified content: both ends generate the same pseudo-random stream from a seed and compare what
 * arrives.
 *
 *   node checked-stream.js serve PORT                      until it is ended
 *   node checked-stream.js up|down IP PORT BYTES [SEED]    prints `ok BYTES MILLISECONDS`, or what was wrong
 *
 * `up` sends and waits for the server's result; `down` receives. Every connection starts with a line that selects the
 * mode.
 */
import { type Cipher, createCipheriv } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';

const CHUNK = 128 * 1024;
const ZEROES = Buffer.alloc(CHUNK);

/** The stream of a seed, piece by piece. */
class Keystream {
  private readonly cipher: Cipher;

  constructor(seed: string) {
    this.cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  }

  next(bytes: number): Buffer {
    return this.cipher.update(bytes === CHUNK ? ZEROES : ZEROES.subarray(0, bytes));
  }
}

/** @returns when everything has been handed to the kernel */
async function send(socket: Socket, seed: string, bytes: number): Promise<void> {
  const stream = new Keystream(seed);
  for (let left = bytes; left > 0; left -= CHUNK) {
    if (!socket.write(stream.next(Math.min(CHUNK, left))))
      await new Promise((resolve) => socket.once('drain', resolve));
  }
}

/** Compares received data with the stream. @returns what was wrong; undefined if nothing was */
async function check(socket: Socket, first: Buffer, seed: string, bytes: number): Promise<string | undefined> {
  const stream = new Keystream(seed);
  let got = 0;
  const differs = (data: Buffer): boolean => {
    for (let at = 0; at < data.length; at += CHUNK) {
      const piece = data.subarray(at, at + CHUNK);
      if (!piece.equals(stream.next(piece.length))) return true;
      got += piece.length;
    }
    return false;
  };
  if (differs(first)) return `other bytes than were sent, behind byte ${got}`;
  if (got >= bytes) return undefined;
  return new Promise((resolve) => {
    socket.on('data', (data: Buffer) => {
      if (differs(data)) resolve(`other bytes than were sent, behind byte ${got}`);
      else if (got >= bytes) resolve(got === bytes ? undefined : `${got - bytes} bytes too many`);
    });
    socket.on('close', () => resolve(`the connection ended after ${got} of ${bytes} bytes`));
    socket.resume();
  });
}

function serve(port: number): void {
  createServer((socket) => {
    let head = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    const take = async (data: Buffer): Promise<void> => {
      head = Buffer.concat([head, data]);
      const end = head.indexOf('\n');
      if (end < 0) return;
      socket.off('data', take).pause();
      const [way = '', bytes = '0', seed = ''] = head.subarray(0, end).toString().split(' ');
      if (way === 'down') {
        await send(socket, seed, Number(bytes));
        socket.end();
      } else socket.end((await check(socket, head.subarray(end + 1), seed, Number(bytes))) ?? 'ok');
    };
    socket.on('data', take);
  }).listen(port, '0.0.0.0', () => console.log('serving'));
}

function ask(way: string, ip: string, port: number, bytes: number, seed: string): void {
  const started = performance.now();
  const end = (wrong: string | undefined): void => {
    console.log(wrong ?? `ok ${bytes} ${Math.round(performance.now() - started)}`);
    process.exit(wrong === undefined ? 0 : 1);
  };
  const socket = connect(port, ip, async () => {
    socket.write(`${way} ${bytes} ${seed}\n`);
    if (way === 'down') return end(await check(socket, Buffer.alloc(0), seed, bytes));
    let said = '';
    socket.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    socket.on('end', () => end(said === 'ok' ? undefined : said || 'the server said nothing'));
    await send(socket, seed, bytes);
  });
  socket.on('error', (error) => end(error.message));
}

const [way = '', ...args] = process.argv.slice(2);
if (way === 'serve') serve(Number(args[0]));
else ask(way, args[0] ?? '', Number(args[1]), Number(args[2]), args[3] ?? 'seed');
