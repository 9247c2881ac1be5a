/**
 * Policies that change again and again under load. What is allowed before and after a change must not notice it; what a
 * change denies must not pass any more 20 ms later.
 */
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../../src/api/client/client.ts';
import type { KubeObject } from '../../../src/api/types/objects.ts';
import { API_SOCKET } from '../../../src/cluster/state.ts';
import { connectInNamespace } from '../../../src/linux/connect.ts';
import { listenInNamespace } from '../../../src/linux/listen.ts';
import { run } from '../cluster.ts';
import { HTTP_PORT, netnsOf, type PolicyCluster, setPolicies } from './policy-cluster.ts';
import { StampedStream } from './stamped-stream.ts';
import { A, policy } from './upstream-cases.ts';

export interface UnderLoad {
  readonly changes: number;
  /** A change is in force at most so long after it was requested, but for one of a hundred. */
  readonly withinMs: number;
}

const STREAM_PORT = 9000;
const ECHO_PORT = 9001;
const CONNECTIONS = 16;
const BLOCK = Buffer.alloc(1000, 'x');
const BLOCK_EVERY_MS = 5;
/** From when a change is in force until the next. */
const PAUSE_MS = 50;
/** A datagram can be under way for so long, and meet the next change. */
const UNDER_WAY_MS = 30;
/** A change that is not in force by then never is. */
const GIVEN_UP_MS = 5000;
/** About how long a change takes. */
const CHANGE_MS = 120;

interface Change {
  readonly allows: boolean;
  readonly sentAt: number;
  readonly answeredAt: number;
}

/** A connection that is echoed, with the next block soon after the one before is back. */
class LongConnection {
  private blocks = 0;
  private back = 0;
  private failure: string | undefined;
  private next: NodeJS.Timeout | undefined;
  private readonly socket: Socket;

  constructor(from: string, ip: string) {
    this.socket = connectInNamespace(netnsOf(from), ip, ECHO_PORT);
    this.socket.on('error', ({ message }) => {
      this.failure = message;
    });
    this.socket.on('data', (data) => {
      this.back += data.length;
      if (this.back === this.blocks * BLOCK.length) this.next = setTimeout(() => this.send(), BLOCK_EVERY_MS);
    });
    this.send();
  }

  private send(): void {
    this.blocks++;
    this.socket.write(BLOCK);
  }

  /** What went wrong; undefined if nothing did. */
  async problem(): Promise<string | undefined> {
    const before = this.blocks;
    for (let i = 0; i < 100 && this.blocks === before && this.failure === undefined; i++) await sleep(20);
    clearTimeout(this.next);
    this.socket.destroy();
    return this.failure ?? (this.blocks === before ? `stands still after ${before} blocks` : undefined);
  }
}

/** @returns milliseconds from the request of each denying change until the last datagram that passed was sent */
export async function changeUnderLoad({ ip }: PolicyCluster, { changes, withinMs }: UnderLoad): Promise<number[]> {
  const to = (pod: string) => ({ netns: netnsOf(pod), ip: ip.get(pod)!, port: STREAM_PORT });
  const toggled = (allows: boolean) =>
    policy('y', 'toggled', {
      ...A,
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { ns: allows ? 'z' : 'x' } } }] }],
    });
  await setPolicies(
    toggled(true),
    policy('y', 'lasting', {
      podSelector: { matchLabels: { pod: 'b' } },
      ingress: [{ from: [{ namespaceSelector: {} }] }],
    }),
  );
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  const fd = listenInNamespace(netnsOf('y/b'), ip.get('y/b')!, ECHO_PORT);
  await new Promise<void>((resolve) => echo.listen({ fd }, resolve));
  const client = new ApiClient(API_SOCKET);
  const [lasting, stream] = [
    await StampedStream.start(netnsOf('z/c'), to('y/b')),
    await StampedStream.start(netnsOf('z/a'), to('y/a')),
  ];
  const seconds = Math.ceil((changes * CHANGE_MS) / 1000);
  const http = `http://${ip.get('y/b')}:${HTTP_PORT}/`;
  const wrk = run(['nsenter', `--net=${netnsOf('z/b')}`, 'wrk', '-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, http], {
    timeoutMs: (seconds + 60) * 1000,
  });
  const made: Change[] = [];
  const held = Array.from({ length: CONNECTIONS }, (_, i) => new LongConnection(i % 2 ? 'z/b' : 'x/c', ip.get('y/b')!));
  try {
    for (let i = 0; i < changes; i++) {
      await sleep(PAUSE_MS);
      const allows = i % 2 === 1;
      const sentAt = performance.now();
      const { spec } = toggled(allows);
      await client.patch('NetworkPolicy', 'toggled', { spec } as Partial<KubeObject>, { namespace: 'y' });
      const answeredAt = performance.now();
      made.push({ allows, sentAt, answeredAt });
      await inForce(stream, allows, answeredAt);
    }
    await sleep(PAUSE_MS);
    await Promise.all([lasting.stop(), stream.stop()]);
    const problems = (await Promise.all(held.map((one) => one.problem()))).filter(Boolean);
    assert.equal(problems, []);
    const { stdout, stderr } = await wrk;
    assert.match(stdout, /requests in/, stderr);
    assert.not.match(stdout, /Socket errors|Non-2xx/);
    assert.is(lasting.arrived.size, lasting.sentAt.length, 'datagrams that were allowed all the time');
    return latenessOf(stream, made, withinMs);
  } finally {
    await Promise.all([lasting.stop(), stream.stop()]);
    client.close();
    echo.close();
  }
}

/** Resolves when datagrams arrive, or do not arrive any more. */
async function inForce(stream: StampedStream, allows: boolean, since: number): Promise<void> {
  while (allows ? stream.newestArrivedAt < since : stream.newestArrivedAt > performance.now() - UNDER_WAY_MS) {
    if (performance.now() > since + GIVEN_UP_MS)
      throw new Error(`a change that ${allows ? 'allows' : 'denies'} has no effect`);
    await sleep(2);
  }
}

/** Compares what arrived with what the changes allow. @returns how late each denying change was */
function latenessOf(stream: StampedStream, changes: readonly Change[], within: number): number[] {
  const lateness: number[] = [];
  const unserved: string[] = [];
  let late = 0;
  for (const [i, { allows, sentAt, answeredAt }] of changes.entries()) {
    const end = changes[i + 1]?.sentAt ?? Number.POSITIVE_INFINITY;
    const sent = stream.sentBetween(sentAt, end);
    const arrived = sent.filter((number) => stream.arrived.has(number));
    if (allows) {
      const due = stream.sentBetween(answeredAt + within, end - UNDER_WAY_MS);
      const lost = due.filter((number) => !stream.arrived.has(number));
      if (lost.length > 0) {
        late++;
        unserved.push(
          `${lost.length} of ${due.length}, until ${Math.round(end - stream.sentAt[lost.at(-1)!]!)} ms before the next`,
        );
      }
      continue;
    }
    const last = arrived.at(-1);
    lateness.push(last === undefined ? 0 : stream.sentAt[last]! - sentAt);
    if (lateness.at(-1)! > within) late++;
  }
  const worst = lateness.map((ms) => Math.round(ms)).sort((a, b) => b - a);
  assert.ok(
    late <= changes.length / 100,
    `${late} changes later than ${within} ms; denials: ${worst.slice(0, 20)} ms; lost: ${unserved}`,
  );
  return lateness;
}
