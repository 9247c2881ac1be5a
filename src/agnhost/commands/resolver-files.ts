/** `dns-suffix`, `dns-server-list` and `etc-hosts`: what the container's files say about names. */
import { readFileSync } from 'node:fs';

/** The search list of resolv.conf(5), separated by commas. */
export function dnsSuffix(): void {
  const lines = readFileSync('/etc/resolv.conf', 'utf8').split('\n');
  const search = lines.findLast((line) => /^(search|domain)\s/.test(line.trim()));
  process.stdout.write(`${(search?.trim().split(/\s+/).slice(1) ?? []).join(',')}\n`);
}

/** The name servers, separated by commas. */
export function dnsServerList(): void {
  const lines = readFileSync('/etc/resolv.conf', 'utf8').split('\n');
  const servers = lines.flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  process.stdout.write(`${servers.join(',')}\n`);
}

export function etcHosts(): void {
  process.stdout.write(readFileSync('/etc/hosts', 'utf8'));
}
