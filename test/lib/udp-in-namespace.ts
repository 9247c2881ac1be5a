/** A UDP socket of this process inside another network namespace. */
import { createSocket, type Socket } from 'node:dgram';
import { inNamespace } from '../../src/linux/netns.ts';
import { boundUdpSocket } from '../../src/linux/udp-socket.ts';

const RECEIVE_BYTES = 1 << 20;

/**
 * @param netns as /run/netns/NAME
 * @param port 0: any
 */
export async function udpSocketIn(netns: string, port = 0): Promise<Socket> {
  const fd = inNamespace(netns, () => boundUdpSocket('0.0.0.0', port, RECEIVE_BYTES));
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
  return socket;
}
