/** Datagrams from one pod to another, one a millisecond: when each was sent, and whether it arrived. */
import type { Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import { udpSocketIn } from '../udp-in-namespace.ts';

const EVERY_MS = 1;

export class StampedStream {
  /** When each was sent, by its number. */
  readonly sentAt: number[] = [];
  readonly arrived = new Set<number>();
  /** When the last of those that arrived was sent. */
  newestArrivedAt = 0;
  private readonly sender: Socket;
  private readonly receiver: Socket;
  private timer: NodeJS.Timeout | undefined;

  private constructor(sender: Socket, receiver: Socket) {
    this.sender = sender;
    this.receiver = receiver;
    receiver.on('message', (message) => {
      const number = message.readUInt32LE(0);
      this.arrived.add(number);
      this.newestArrivedAt = Math.max(this.newestArrivedAt, this.sentAt[number]!);
    });
  }

  /** @param from and @param to namespaces, as /run/netns/NAME */
  static async start(from: string, to: { netns: string; ip: string; port: number }): Promise<StampedStream> {
    const sender = await udpSocketIn(from);
    const receiver = await udpSocketIn(to.netns, to.port);
    const stream = new StampedStream(sender, receiver);
    stream.timer = setInterval(() => {
      const message = Buffer.alloc(8);
      message.writeUInt32LE(stream.sentAt.length, 0);
      stream.sentAt.push(performance.now());
      sender.send(message, to.port, to.ip);
    }, EVERY_MS);
    return stream;
  }

  /** Resolves when what was sent has arrived, or never will. */
  async stop(): Promise<void> {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    this.timer = undefined;
    await sleep(200);
    this.sender.close();
    this.receiver.close();
  }

  /** Numbers of those that were sent between two times. */
  sentBetween(begin: number, end: number): number[] {
    return this.sentAt.flatMap((at, i) => (at >= begin && at < end ? [i] : []));
  }
}
