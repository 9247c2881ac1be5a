/** `HOST:PORT` on the command line, and look-ups by the system's resolver. */
import { lookup } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { describeError } from './network-error.ts';

/** @throws Error with the message of Go's net.SplitHostPort */
export function splitHostPort(text: string): { host: string; port: string } {
  const bracketed = /^\[([^\]]*)\]:([^:]*)$/.exec(text);
  if (bracketed) return { host: bracketed[1]!, port: bracketed[2]! };
  const colon = text.lastIndexOf(':');
  if (colon < 0) throw new Error(`address ${text}: missing port in address`);
  if (text.indexOf(':') !== colon) throw new Error(`address ${text}: too many colons in address`);
  return { host: text.slice(0, colon), port: text.slice(colon + 1) };
}

/** @throws Error if the name or the port does not exist */
export async function resolveAddress(
  { host, port }: { host: string; port: string },
  protocol: 'tcp' | 'udp',
): Promise<{ address: string; port: number; family: number }> {
  const number = portNumber(port, protocol);
  if (host === '') return { address: '127.0.0.1', port: number, family: 4 };
  if (isIP(host) !== 0) return { address: host, port: number, family: isIP(host) };
  try {
    return { ...(await lookup(host)), port: number };
  } catch (error) {
    throw new Error(`lookup ${host}: ${describeError(error as NodeJS.ErrnoException)}`);
  }
}

function portNumber(text: string, protocol: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : servicePort(text, protocol);
  if (number === undefined) throw new Error(`lookup ${protocol}/${text}: unknown port`);
  if (number > 65535) throw new Error(`address ${text}: invalid port`);
  return number;
}

/** A name of services(5). */
function servicePort(name: string, protocol: string): number | undefined {
  try {
    for (const line of readFileSync('/etc/services', 'utf8').split('\n')) {
      const [first, second = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
      const [port, of] = second.split('/');
      if (of === protocol && (first === name || aliases.includes(name))) return Number(port);
    }
  } catch {
    // Without the file, ports have no names.
  }
  return undefined;
}
