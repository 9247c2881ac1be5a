/** The address of a name server, in the format of options and resolv.conf(5). */
import { isIPv4 } from 'node:net';

export interface NameServer {
  readonly address: string;
  readonly port: number;
}

const DNS_PORT = 53;

/** `ADDRESS` or `ADDRESS:PORT`; undefined for anything else. IPv4 only, like the nodes. */
export function parseNameServer(text: string): NameServer | undefined {
  const [address = '', port, ...more] = text.split(':');
  if (!isIPv4(address) || more.length > 0) return undefined;
  if (port === undefined) return { address, port: DNS_PORT };
  const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
  return number >= 1 && number <= 65535 ? { address, port: number } : undefined;
}
