/** Runs the UDP client of a test (udp-client.ts) and collects its replies. */
import { join } from 'node:path';
import { type Cluster, eventually, ROOT } from '../cluster.ts';

/** A client with one socket that keeps sending; the replies so far. */
export class Talker {
  readonly answers: { number: number; name: string; port: number }[] = [];
  readonly errors: string[] = [];
  sent = 0;
  private readonly child;
  private readonly ended: Promise<void>;

  /** @param waitMs how long it waits for each reply (udp-client.ts); undefined: it does not */
  constructor(
    cluster: Cluster,
    netns: string,
    place: string,
    intervalMs: number,
    sourcePort?: number,
    waitMs?: number,
  ) {
    const [ip = '', port = ''] = place.split(':');
    const words = [ip, port, `${intervalMs}`, `${sourcePort ?? 0}`, ...(waitMs === undefined ? [] : [`${waitMs}`])];
    this.child = cluster.start(netns, [process.execPath, join(ROOT, 'dist/test/lib/services/udp-client.js'), ...words]);
    let rest = '';
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() as string;
      for (const line of lines) this.read(line.split(' '));
    });
    this.ended = new Promise((resolve) => this.child.once('close', () => resolve()));
  }

  private read([first = '', name = '', , port]: string[]): void {
    if (first === '!') this.errors.push(name);
    else if (first === 'sent') this.sent = Number(name);
    else this.answers.push({ number: Number(first), name, port: Number(port) });
  }

  get last(): string {
    return this.answers.at(-1)?.name ?? '';
  }

  /** Waits until this server replies. */
  async hears(name: string, timeoutMs = 5000): Promise<void> {
    const from = this.answers.length;
    await eventually(
      async () => (this.answers.slice(from).some((a) => a.name === name) ? true : undefined),
      timeoutMs,
    ).catch(() => {
      throw new Error(`no answer of ${name}; the last was of "${this.last}", errors: ${this.errors.at(-1)}`);
    });
  }

  /** Stops it; returns the numbers that were never answered. */
  async end(): Promise<number[]> {
    this.child.kill('SIGTERM');
    await this.ended;
    const heard = new Set(this.answers.map(({ number }) => number));
    return Array.from({ length: this.sent }, (_, i) => i).filter((number) => !heard.has(number));
  }
}
