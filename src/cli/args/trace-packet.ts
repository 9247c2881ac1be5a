/**
 * Parses the arguments of `dataplane trace`: source, destination and packet. All functions throw CliError with status
 * 2.
 */
import { parseIp } from '../../net/address.ts';
import { bytesOfHex } from '../../observe/trace/hex.ts';
import { FLAG_LETTERS, tcpFlagBits, tracedProtocol } from '../../observe/trace/packet-names.ts';
import type { EndArg } from '../../observe/trace/resolver.ts';
import { usageError } from '../errors.ts';

const KINDS: Readonly<Record<string, EndArg['kind']>> = {
  pod: 'pod',
  po: 'pod',
  pods: 'pod',
  node: 'node',
  no: 'node',
  nodes: 'node',
  svc: 'svc',
  service: 'svc',
  services: 'svc',
};

const FORMS = 'pod/NAME, node/NAME, svc/NAME or an IPv4 address';

/** `pod/client`, `svc/web:80`, `svc/web:http`, `node/n1:31418`, `10.96.0.10:80`, `outside`. */
export function readEnd(text: string, option: string): EndArg {
  const [, head = '', port] = /^([^:]*)(?::([a-z0-9-]+))?$/.exec(text) ?? [];
  checkPort(port, `${option} ${text}`);
  if (head === 'outside' && port === undefined) return { kind: 'outside', name: '', port };
  if (parseIp(head)?.family === 4) return { kind: 'ip', name: head, port };
  const [kind = '', name = '', more] = head.split('/');
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (known === undefined || name === '' || more !== undefined) {
    throw usageError(`${option} ${text}: expected ${FORMS}, with an optional :PORT`);
  }
  return { kind: known, name, port };
}

/** Refuses numbers that are no ports; a name is looked up later. */
export function checkPort(port: string | undefined, where: string): void {
  if (port === undefined || !/^\d+$/.test(port)) return;
  if (Number(port) < 1 || Number(port) > 65535) throw usageError(`${where}: expected a port from 1 to 65535`);
}

export function readProtocol(text: string, option: string): number {
  const protocol = tracedProtocol(text.toLowerCase());
  if (protocol === undefined) throw usageError(`${option} ${text}: expected tcp, udp or icmp`);
  return protocol;
}

/** `S`, `SA`, `PA`, … as tcpdump writes them. */
export function readFlags(text: string, option: string): number {
  const flags = tcpFlagBits(text.toUpperCase());
  if (flags !== undefined) return flags;
  throw usageError(`${option} ${text}: expected letters of ${FLAG_LETTERS}, such as S or PA`);
}

/** Bytes in hexadecimal; blanks and colons between them are ignored. */
export function readHex(text: string, option: string): Uint8Array {
  const digits = text.replace(/[\s:]/g, '');
  if (digits === '' || digits.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(digits)) {
    throw usageError(`${option}: expected a frame as pairs of hexadecimal digits`);
  }
  return bytesOfHex(digits);
}
