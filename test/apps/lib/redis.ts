/** A client of Redis: commands in, replies out, in order (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec). */
import { connect, type Socket } from 'node:net';

export type Reply = string | number | null | Reply[];

interface Waiting {
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
}

/** Connects when it is first used, and again after the connection was lost. */
export class Redis {
  private readonly host: string;
  private readonly port: number;
  private socket: Socket | undefined;
  private received = Buffer.alloc(0);
  private waiting: Waiting[] = [];

  /** @param address HOST:PORT */
  constructor(address: string) {
    const [host = '', port = '6379'] = address.split(':');
    this.host = host;
    this.port = Number(port);
  }

  /** @throws Error if the server refuses the command, or the connection is lost before it replied */
  command(...words: readonly (string | number)[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const socket = this.connected();
      this.waiting.push({ resolve, reject });
      const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
      socket.write(`*${words.length}\r\n${parts.join('')}`);
    });
  }

  private connected(): Socket {
    if (this.socket !== undefined) return this.socket;
    const socket = connect(this.port, this.host);
    socket.setTimeout(5000, () => socket.destroy(new Error('Redis does not reply')));
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', () => {});
    const lost = (reason: string) => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.received = Buffer.alloc(0);
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`Redis at ${this.host}: ${reason}`));
    };
    socket.on('error', (error) => lost(error.message));
    socket.on('close', () => lost('the connection was closed'));
    this.socket = socket;
    return socket;
  }

  private receive(chunk: Buffer): void {
    this.received = Buffer.concat([this.received, chunk]);
    for (;;) {
      const parsed = parse(this.received, 0);
      if (parsed === undefined) return;
      this.received = this.received.subarray(parsed.end);
      const { resolve, reject } = this.waiting.shift() ?? {};
      if (parsed.value instanceof Error) reject?.(parsed.value);
      else resolve?.(parsed.value);
    }
  }
}

/** One reply; undefined if it is not complete. */
function parse(bytes: Buffer, start: number): { value: Reply | Error; end: number } | undefined {
  const newline = bytes.indexOf('\r\n', start);
  if (newline < 0) return undefined;
  const line = bytes.toString('utf8', start + 1, newline);
  const after = newline + 2;
  switch (String.fromCharCode(bytes[start]!)) {
    case '+':
      return { value: line, end: after };
    case '-':
      return { value: new Error(line), end: after };
    case ':':
      return { value: Number(line), end: after };
    case '$': {
      const length = Number(line);
      if (length < 0) return { value: null, end: after };
      if (bytes.length < after + length + 2) return undefined;
      return { value: bytes.toString('utf8', after, after + length), end: after + length + 2 };
    }
    default: {
      const items: Reply[] = [];
      let end = after;
      for (let i = 0; i < Number(line); i++) {
        const item = parse(bytes, end);
        if (item === undefined) return undefined;
        if (item.value instanceof Error) return item;
        items.push(item.value);
        end = item.end;
      }
      return { value: items, end };
    }
  }
}
