/** Datagrams from one pod to another, one a millisecond, of each of which is known when it was sent and whether it arrived. */
import { createSocket, type Socket } from 'node:dgram';
import { inNamespace } from '../../../src/linux/netns.ts';
import { boundUdpSocket } from '../../../src/linux/udp-socket.ts';

const EVERY_MS = 1;
const RECEIVE_BYTES = 1 << 20;

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
    for (const socket of [sender, receiver]) socket.on('error', () => {});
  }

  /** @param from and @param to namespaces, as /run/netns/NAME */
  static async start(from: string, to: { netns: string; ip: string; port: number }): Promise<StampedStream> {
    const sender = await socketIn(from, 0);
    const receiver = await socketIn(to.netns, to.port);
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
    await new Promise((resolve) => setTimeout(resolve, 200));
    this.sender.close();
    this.receiver.close();
  }

  /** Numbers of those that were sent between two times. */
  sentBetween(begin: number, end: number): number[] {
    return this.sentAt.flatMap((at, i) => (at >= begin && at < end ? [i] : []));
  }
}

async function socketIn(netns: string, port: number): Promise<Socket> {
  const fd = inNamespace(netns, () => boundUdpSocket('0.0.0.0', port, RECEIVE_BYTES));
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  return socket;
}
