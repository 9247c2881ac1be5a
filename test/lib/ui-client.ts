/** A reader of `dataplane ui`, as its page is one: signs in with the printed address, follows the stream, and asks. */
import type { EdgeView, FlowRow, Topology, Update } from '../../src/ui/protocol.ts';
import { RunningCommand } from './running-command.ts';

export class UiClient {
  readonly edges = new Map<string, EdgeView>();
  readonly flows: FlowRow[] = [];
  topology: Topology | undefined;
  private readonly server: RunningCommand;
  private readonly reading = new AbortController();
  private url = '';
  private cookie = '';

  constructor() {
    this.server = new RunningCommand('ui');
  }

  /** @param filter as on the command line of `dataplane observe` */
  async open(filter: string): Promise<void> {
    await this.server.started(/open this address/);
    const address = new URL(this.server.stdout.trim());
    const signIn = await fetch(address, { redirect: 'manual' });
    this.url = address.origin;
    this.cookie = signIn.headers.get('set-cookie')?.split(';')[0] ?? '';
    const response = await fetch(`${this.url}/api/stream?filter=${encodeURIComponent(filter)}`, {
      headers: { cookie: this.cookie },
      signal: this.reading.signal,
    });
    if (!response.ok || response.body === null) throw new Error(await response.text());
    this.read(response.body).catch(() => {});
  }

  async ask<T>(call: string, request: unknown): Promise<T> {
    const response = await fetch(`${this.url}/api/${call}`, {
      method: 'POST',
      headers: { cookie: this.cookie, 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
    if (!response.ok) throw new Error(await response.text());
    return (await response.json()) as T;
  }

  /** Ends the server. @returns its exit status */
  async close(): Promise<number> {
    this.reading.abort();
    return (await this.server.stop()).status;
  }

  private async read(body: AsyncIterable<Uint8Array>): Promise<void> {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of body) {
      text += decoder.decode(chunk, { stream: true });
      const events = text.split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) this.take(JSON.parse(event.replace(/^data: /, '')) as Update);
    }
  }

  private take({ topology, edges = [], flows = [] }: Update): void {
    this.topology = topology ?? this.topology;
    for (const edge of edges) this.edges.set(edge.id, edge);
    this.flows.push(...flows);
  }
}
