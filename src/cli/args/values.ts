/** Parsers for the values of options. All throw CliError with status 2 that has option, value and what is expected. */
import { type Cidr, parseCidr, parseIp, printCidr } from '../../net/address.ts';
import { usageError } from '../errors.ts';

const whole = (text: string): number => (/^\d{1,15}$/.test(text) ? Number(text) : Number.NaN);

/**
 * A parser of whole numbers between two bounds, inclusive.
 * @param what the unit, for the error message
 * @param otherwise advice about omitting the option
 */
export function wholeNumber(least: number, most: number, what = 'a whole number', otherwise?: string) {
  return (text: string, option: string): number => {
    const value = whole(text);
    if (value >= least && value <= most) return value;
    throw usageError(`${option} ${text}: expected ${what} from ${least} to ${most}`, otherwise);
  };
}

/** A parser of keywords. */
export function oneOf<const T extends string>(...choices: readonly T[]) {
  return (text: string, option: string): T => {
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    throw usageError(`${option} ${text}: expected ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`);
  };
}

export const portNumber = wholeNumber(1, 65535, 'a port');

/** From the minimum of RFC 8200 §5 up to the largest packet that fits with VXLAN in a 64 KiB datagram. */
export const mtuBytes = wholeNumber(1280, 65485, 'whole bytes', "leave it out to use the underlay's");

/** An IPv4 network; host bits are cleared as Kubernetes does. */
export function ipv4Cidr(text: string, option: string): string {
  const cidr: Cidr | undefined = parseCidr(text);
  if (cidr?.family !== 4) throw usageError(`${option} ${text}: expected an IPv4 network such as 10.244.0.0/16`);
  return printCidr(cidr);
}

/** `30000-32767`. */
export function portRange(text: string, option: string): readonly [number, number] {
  const [first, last, more] = text.split('-').map(whole);
  if (more === undefined && first! >= 1 && first! <= last! && last! <= 65535) return [first!, last!];
  throw usageError(`${option} ${text}: expected two ports, the lower one first, such as 30000-32767`);
}

/** Seconds, more than 0; a unit s, m or h may follow, as in kubectl. */
export function seconds(text: string, option: string): number {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)(s|m|h)?$/.exec(text);
  const value = Number(match?.[1]) * (match?.[2] === 'h' ? 3600 : match?.[2] === 'm' ? 60 : 1);
  if (value > 0) return value;
  throw usageError(`${option} ${text}: expected more than 0 seconds, such as 60 or 2m`);
}

/** A DNS label (RFC 1123): names of namespaces, nodes and the like. */
export function dnsLabel(text: string, option: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw usageError(`${option} ${text}: expected lower-case letters, digits and "-", at most 63 characters`);
}

/** The name of a Node: a DNS subdomain (RFC 1123), short enough for the names of shared memory. */
export function nodeName(text: string, option: string): string {
  if (text.length <= 200 && text.split('.').every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label)))
    return text;
  throw usageError(`${option} ${text}: expected the name of a Node, of lower-case letters, digits, "-" and "."`);
}

/** An IPv4 address. */
export function ipv4Address(text: string, option: string): string {
  if (parseIp(text)?.family === 4) return text;
  throw usageError(`${option} ${text}: expected an IPv4 address such as 192.168.1.10`);
}
