/** A UDP server for the commands `hostname`, `echo TEXT` and `clientip`. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { hostPort } from './http.ts';
import { fatal, log } from './log.ts';
import { describeError } from './network-error.ts';

export class UdpCommands {
  private readonly sockets: Socket[];
  private bound = 0;

  /** @param addresses separated by commas; empty: every address */
  constructor(port: number, addresses: string) {
    const listed = [...new Set(addresses === '' ? [''] : addresses.split(','))];
    for (const address of listed)
      if (address !== '' && isIP(address) === 0) fatal(`parseAddress: invalid address ${address}`);
    this.sockets = listed.map((address) => {
      const socket = createSocket(address === '' || isIP(address) === 6 ? 'udp6' : 'udp4');
      socket.on('error', (error: NodeJS.ErrnoException) =>
        fatal(`Error occurred: failed to create listener for UDP address ${address}:${port}:${describeError(error)}`),
      );
      socket.on('message', (message, from) => this.receive(socket, message, from));
      socket.bind({ port, ...(address !== '' && { address }) }, () => {
        log(`Started UDP server on port ${address} ${port}`);
        this.bound++;
      });
      return socket;
    });
  }

  /** Do all sockets receive? */
  get ready(): boolean {
    return this.bound === this.sockets.length;
  }

  private receive(socket: Socket, message: Buffer, from: RemoteInfo): void {
    const client = hostPort(from.address.replace(/^::ffff:/, ''), from.port);
    const command = message.toString().trim().toLowerCase();
    const send = (text: string) => socket.send(text, from.port, from.address, () => {});
    if (command === 'hostname') {
      log('Sending udp hostName response');
      send(hostname());
    } else if (command.startsWith('echo ')) {
      const text = command.slice('echo '.length);
      log(`Echoing ${text} to UDP client ${client}`);
      send(text);
    } else if (command === 'clientip') {
      log(`Sending clientip back to UDP client ${client}`);
      send(client);
    } else if (command !== '') log(`Unknown UDP command received from ${client}: ${command}`);
  }
}
