/**
 * struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)) of an address literal: family in the host's byte order, the rest
 * in the network's. And struct sockaddr_un of a path.
 */
import { isIPv6 } from 'node:net';

export const AF_UNIX = 1;
export const AF_INET = 2;
const AF_INET6 = 10;

/** AF_INET or AF_INET6 of an address literal. */
export function familyOf(address: string): number {
  return isIPv6(address) ? AF_INET6 : AF_INET;
}

/** The structure for an address literal and a port. */
export function socketAddress(address: string, port: number): Buffer {
  const family = familyOf(address);
  const bytes = Buffer.alloc(family === AF_INET6 ? 28 : 16);
  bytes.writeUInt16LE(family, 0);
  bytes.writeUInt16BE(port, 2);
  if (family === AF_INET) for (const [i, octet] of address.split('.').entries()) bytes[4 + i] = Number(octet);
  else for (const [i, word] of words(address).entries()) bytes.writeUInt16BE(word, 8 + 2 * i);
  return bytes;
}

/** struct sockaddr_un of a path (unix(7)). @throws RangeError if the path is too long */
export function unixAddress(path: string): Buffer {
  const bytes = Buffer.alloc(110);
  if (Buffer.byteLength(path) > 107) throw new RangeError(`${path}: longer than the path of a socket may be`);
  bytes.writeUInt16LE(AF_UNIX, 0);
  bytes.write(path, 2);
  return bytes;
}

/** The eight words of an IPv6 address without a dotted part. */
function words(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const parse = (part: string) =>
    part
      .split(':')
      .filter(Boolean)
      .map((word) => Number.parseInt(word, 16));
  const [first, last] = [parse(head), parse(tail ?? '')];
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}
